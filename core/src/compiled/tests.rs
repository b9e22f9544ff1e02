use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;
use crate::backend::{Capability, Instance};
use crate::imports::Imports;

/// An engine that counts what it is asked for. Its code is the module, turned round.
struct Engine {
    info: BackendInfo,
    /// Whether it has code to give.
    gives: bool,
    /// Whether it takes code.
    takes: bool,
    compiled: AtomicU32,
    loaded: AtomicU32,
}

struct Compiled(Option<Vec<u8>>);

impl Engine {
    fn new(name: &'static str) -> Self {
        let capabilities = vec![Capability::CompiledCode];
        let info = BackendInfo { name, engine_version: "1".to_owned(), code_key: String::new(), capabilities };
        let (compiled, loaded) = (AtomicU32::new(0), AtomicU32::new(0));
        Engine { info, gives: true, takes: true, compiled, loaded }
    }

    /// How often it has compiled, and loaded, since this was asked last.
    fn did(&self) -> (u32, u32) {
        (self.compiled.swap(0, Relaxed), self.loaded.swap(0, Relaxed))
    }
}

fn code_of(prepared: &Prepared) -> Vec<u8> {
    prepared.wasm().iter().rev().copied().collect()
}

impl Backend for Engine {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn compile(&self, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        self.compiled.fetch_add(1, Relaxed);
        Ok(Arc::new(Compiled(self.gives.then(|| code_of(prepared)))))
    }

    fn load(&self, prepared: &Prepared, code: TrustedCode<'_>) -> Result<Arc<dyn Module>> {
        self.loaded.fetch_add(1, Relaxed);
        assert_eq!(code.bytes(), code_of(prepared), "code of another module");
        if self.takes { Ok(Arc::new(Compiled(None))) } else { Err(Error::new(Kind::Engine, "not this code")) }
    }
}

impl Module for Compiled {
    #[expect(unsafe_code, reason = "nothing executes it")]
    fn serialize(&self) -> Result<Option<TrustedCode<'_>>> {
        // SAFETY: the engine above makes it, and does not execute it.
        Ok(self.0.as_deref().map(|code| unsafe { TrustedCode::new(code) }))
    }

    fn instantiate(&self, _: Arc<Imports>) -> Result<Box<dyn Instance>> {
        Err(Error::new(Kind::Unsupported, "nothing runs here"))
    }
}

fn options(directory: &Path) -> LoadOptions {
    LoadOptions { cache: Some(Arc::new(CodeCache::open(directory).unwrap())), ..LoadOptions::default() }
}

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Loads a module, checks that it is prepared as it is without a cache, and says whether it had to be made.
fn load(engine: &Engine, wasm: &[u8], options: &LoadOptions) -> bool {
    let mut made = false;
    let prepared = Prepared::with_cache(engine, &[wasm], options, || {
        made = true;
        Ok(wasm.into())
    });
    let prepared = prepared.unwrap();
    let fresh = Prepared::new(wasm, options).unwrap();
    assert_eq!(prepared.wasm(), fresh.wasm());
    assert_eq!(prepared.imports(), fresh.imports());
    assert_eq!(prepared.own_imports(), fresh.own_imports());
    assert_eq!(prepared.exports(), fresh.exports());
    assert_eq!(prepared.spaces(), fresh.spaces());
    assert_eq!((prepared.has_start(), prepared.memories()), (fresh.has_start(), fresh.memories()));
    options.cache.as_ref().unwrap().compile(engine, &prepared).unwrap();
    made
}

const PLAIN: &str = r#"(module (memory (export "memory") 1) (func (export "f") (result i32) i32.const 7))"#;

/// Whatever core reads in a module, it knows of one that was kept.
#[test]
fn a_guest_is_prepared_and_compiled_once() {
    for text in [
        PLAIN,
        "(module)",
        // Grows, starts, imports one name twice, and has all that is left out of an outline.
        r#"(module
            (import "a" "b" (func $b)) (import "a" "b" (func $c (param i64)))
            (memory 1 100) (memory 2) (table $t (export "t") 3 funcref) (global (export "g") i64 (i64.const 1))
            (elem (i32.const 0) $b) (elem declare func $c) (data (i32.const 0) "text") (data "more")
            (@custom "other" "custom")
            (func $start (drop (memory.grow (i32.const 1))) (drop (table.grow (ref.null func) (i32.const 1))))
            (func (export "v") (param v128)) (func (export "r") (param externref))
            (start $start))"#,
    ] {
        let (directory, engine, wasm) = (tempfile::tempdir().unwrap(), Engine::new("mock"), module(text));
        let options = options(directory.path());
        assert!(load(&engine, &wasm, &options));
        assert_eq!(engine.did(), (1, 0));
        for _ in 0..2 {
            assert!(!load(&engine, &wasm, &options), "{text}");
            assert_eq!(engine.did(), (0, 1));
        }
        assert_eq!(entries(directory.path()).len(), 1);
    }
}

#[test]
fn all_that_shapes_it_is_in_the_key() {
    let (directory, engine, wasm) = (tempfile::tempdir().unwrap(), Engine::new("mock"), module(PLAIN));
    let given = options(directory.path());
    assert!(load(&engine, &wasm, &given));
    assert!(load(&engine, &module(&PLAIN.replace("const 7", "const 8")), &given), "another module");
    let defaults = || given.clone();
    for options in [
        LoadOptions { max_memory: 1 << 20, ..defaults() },
        LoadOptions { max_table_elements: 7, ..defaults() },
        LoadOptions { max_function_bytes: 1000, ..defaults() },
        LoadOptions { max_module_bytes: 1000, ..defaults() },
    ] {
        assert!(load(&engine, &wasm, &options) && !load(&engine, &wasm, &options), "{options:?}");
    }
    // Limits are the loader's own: what was kept under others does not get past them.
    let strict = LoadOptions { max_module_bytes: 10, ..defaults() };
    Prepared::with_cache(&engine, &[&wasm], &strict, || Ok((&wasm[..]).into())).unwrap_err();
    let mut others = [Engine::new("another"), Engine::new("mock"), Engine::new("mock")];
    "2".clone_into(&mut others[1].info.engine_version);
    "other settings".clone_into(&mut others[2].info.code_key);
    for other in &others {
        assert!(load(other, &wasm, &given) && !load(other, &wasm, &given), "{:?}", other.info);
    }
    assert!(!load(&engine, &wasm, &given), "it is still there");
}

#[test]
fn a_damaged_entry_is_made_anew() {
    let (directory, engine, wasm) = (tempfile::tempdir().unwrap(), Engine::new("mock"), module(PLAIN));
    let options = options(directory.path());
    load(&engine, &wasm, &options);
    let entry = entries(directory.path()).remove(0);
    let good = std::fs::read(&entry).unwrap();
    let flipped = (0..good.len()).map(|at| {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        flipped
    });
    let cut = (0..good.len()).map(|end| good[..end].to_vec());
    for damage in flipped.chain(cut).chain([[&good[..], b"x"].concat()]) {
        std::fs::write(&entry, damage).unwrap();
        assert!(load(&engine, &wasm, &options));
        assert_eq!(std::fs::read(&entry).unwrap(), good, "it is kept again");
    }
}

/// Sealed as it should be, and still not what core writes.
#[test]
fn an_entry_that_is_laid_out_otherwise_is_made_anew() {
    let (directory, engine, wasm) = (tempfile::tempdir().unwrap(), Engine::new("mock"), module(PLAIN));
    let options = options(directory.path());
    let cache = options.cache.as_deref().unwrap();
    let prepared = Prepared::with_cache(&engine, &[&wasm], &options, || Ok((&wasm[..]).into())).unwrap();
    let key = prepared.kept.as_ref().unwrap().key.clone();
    let tail = |words: [u64; 4]| words.map(u64::to_le_bytes).concat();
    let without_outline = [&wasm[..], &tail([0, 0, wasm.len() as u64, 0])].concat();
    let cut_outline = [&wasm[..20], &wasm[..], &tail([0, 20, wasm.len() as u64, 0])].concat();
    for foreign in [
        Vec::new(),
        vec![0; TAIL - 1],
        tail([1, 0, 0, WITH_CODE]),
        tail([u64::MAX, 1, 0, WITH_CODE]),
        tail([u64::MAX, u64::MAX, u64::MAX, 0]),
        [b"x", &tail([0, 0, 0, 0])[..]].concat(),
        without_outline,
        cut_outline,
    ] {
        cache.put(&key, &foreign).unwrap();
        assert!(load(&engine, &wasm, &options), "{foreign:?}");
        assert!(!load(&engine, &wasm, &options), "it is kept again");
    }
}

#[test]
fn code_that_is_rejected_is_compiled_and_kept_again() {
    let (directory, wasm) = (tempfile::tempdir().unwrap(), module(PLAIN));
    let options = options(directory.path());
    let rejecting = Engine { takes: false, ..Engine::new("mock") };
    load(&rejecting, &wasm, &options);
    rejecting.did();
    assert!(!load(&rejecting, &wasm, &options));
    assert_eq!(rejecting.did(), (1, 1));
}

/// Code is native: that of one engine must not get to another, whoever mixes up what was prepared.
#[test]
fn no_engine_gets_what_another_made() {
    let (directory, wasm) = (tempfile::tempdir().unwrap(), module(PLAIN));
    let options = options(directory.path());
    let (one, other) = (Engine::new("mock"), Engine::new("another"));
    load(&one, &wasm, &options);
    let prepared = Prepared::with_cache(&one, &[&wasm], &options, || Ok((&wasm[..]).into())).unwrap();
    let cache = options.cache.as_deref().unwrap();
    cache.compile(&other, &prepared).unwrap();
    assert_eq!(other.did(), (1, 0));
    assert_eq!(cache.fill(&other, &prepared).unwrap_err().kind(), Kind::Config);
    assert_eq!(entries(directory.path()).len(), 1);
}

#[test]
fn of_an_engine_without_code_the_module_is_kept() {
    let (directory, wasm) = (tempfile::tempdir().unwrap(), module(PLAIN));
    let options = options(directory.path());
    let engine = Engine { gives: false, ..Engine::new("mock") };
    assert!(load(&engine, &wasm, &options) && !load(&engine, &wasm, &options));
    assert_eq!(engine.did(), (2, 0));
    assert_eq!(entries(directory.path()).len(), 1);
    let prepared = Prepared::of_module(&engine, &wasm, &options).unwrap();
    let fill = options.cache.as_deref().unwrap().fill(&engine, &prepared);
    assert_eq!(fill.unwrap_err().kind(), Kind::Unsupported, "there is no code to keep");
}

#[test]
fn a_cache_is_filled_once() {
    let (directory, engine, wasm) = (tempfile::tempdir().unwrap(), Engine::new("mock"), module(PLAIN));
    let options = options(directory.path());
    for compiled in [1, 0] {
        let prepared = Prepared::of_module(&engine, &wasm, &options).unwrap();
        options.cache.as_deref().unwrap().fill(&engine, &prepared).unwrap();
        assert_eq!(engine.did(), (compiled, 0));
    }
}
