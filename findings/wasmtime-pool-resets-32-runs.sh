#!/usr/bin/env bash
# Wasmtime's pool keeps the pages that an instance wrote only as far as they are in 32 runs.
#
# Assumed: with `pagemap_scan` and `linear_memory_keep_resident` larger than all that an instance writes, the pool overwrites
#          these pages where they are, and the next instance writes to them without a page fault.
# Seen:    wasmtime 48.0.8 asks the kernel for 32 runs of pages, and gives the rest of the memory back whatever it may keep. An
#          instance that writes to 32 pages apart from each other costs its successor no fault, one that writes to 64 costs 32;
#          an interpreter's request writes to hundreds. It needs Linux 6.7 or later, which can tell.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

output=$(rust wasmtime==48.0.8/runtime,cranelift,wat,pooling-allocator <<'RUST'
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig, Store};

/// The page faults of this process so far, of which none read a file.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(7).unwrap().parse().unwrap()
}

fn main() -> wasmtime::Result<()> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(1).total_core_instances(1).linear_memory_keep_resident(64 << 20).pagemap_scan(Enabled::Yes);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    // Writes one byte to each of some pages, every other one.
    let module = Module::new(&engine, r#"(module (memory 16) (func (export "write") (param $pages i32) (local $page i32)
        (loop $next
            (i32.store8 (i32.shl (local.get $page) (i32.const 13)) (i32.const 1))
            (local.set $page (i32.add (local.get $page) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $page) (local.get $pages))))))"#)?;
    for pages in [32, 64] {
        let mut after = 0;
        for _ in 0..10 {
            let mut store = Store::new(&engine, ());
            let instance = wasmtime::Instance::new(&mut store, &module, &[])?;
            let write = instance.get_typed_func::<i32, ()>(&mut store, "write")?;
            let before = faults();
            write.call(&mut store, pages)?;
            after = faults() - before;
        }
        println!("{pages} pages, the tenth instance: {after} faults");
    }
    Ok(())
}
RUST
)
shows 'wasmtime 48.0.8' '^32 pages, the tenth instance: [01] faults$' "$output"
shows 'wasmtime 48.0.8' '^64 pages, the tenth instance: 3[23] faults$' "$output"
