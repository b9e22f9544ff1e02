#!/usr/bin/env bash
# Wasmtime 49 lists `-S tcplisten=ADDR` and refuses it for every program, in words that are about components, even where
# the program is a core module.
#
# Assumed: what `-S help` lists works; for WASI preview 1 it is how a server gets its listener.
# Seen:    the option belongs to the old implementation of preview 1, which `-S preview2=n` chose until 46 and which
#          47 took out. 46.0.1 hands the listener over; 49.0.3 accepts neither option, and still lists both.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

# Accepts nothing: exit code 0 if descriptor 3 is a stream socket (type 6), else 1.
cat >listener.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $exit
      (i32.or
        (call $stat (i32.const 3) (i32.const 0))
        (i32.ne (i32.load8_u (i32.const 0)) (i32.const 6))))))
WAT

install_wasmtime 46.0.1
"$wasmtime" run -S preview2=n -S tcplisten=127.0.0.1:0 listener.wat 2>/dev/null
shows 'it hands over a listener as descriptor 3, and ends with' '^0$' "$?"

install_wasmtime 49.0.3
shows 'it lists' 'tcplisten=val' "$("$wasmtime" run -S help | grep -E 'tcplisten|preview2')"
shows 'and says of this core module' 'components do not support --tcplisten' \
    "$("$wasmtime" run -S tcplisten=127.0.0.1:0 listener.wat 2>&1 | head -n 1)"
shows 'and of the other option' 'no longer supported' \
    "$("$wasmtime" run -S preview2=n -S tcplisten=127.0.0.1:0 listener.wat 2>&1 | head -n 1)"
