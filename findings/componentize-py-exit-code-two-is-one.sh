#!/usr/bin/env bash
# `sys.exit(2)` in a Python component ends `wasmtime run` with 1.
#
# Assumed: the exit code of a program is that of its process, as it is for the same Python without WebAssembly, and for
#          modules of WASI preview 1.
# Seen:    with componentize-py 0.25.1 on wasmtime 49.0.3, every code but 0 is 1: `wasi:cli/exit` only knows success and failure,
#          and a function that carries a number, `exit-with-code`, is unstable in 0.2 and not what Python's own `exit`
#          calls. A script that tells a usage error (2) from a failure (1) takes each for the other.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

install_wasmtime 49.0.3
python_packages componentize-py==0.25.1
wit_packages
printf 'package finding:app;\nworld app { export wasi:cli/run@0.2.10; }\n' >wit/world.wit
cat >app.py <<'PYTHON'
import sys

from wit_world import exports


class Run(exports.Run):
    def run(self) -> None:
        sys.exit(int(sys.argv[1]))
PYTHON
venv/bin/componentize-py --quiet --wit-path wit --world app componentize app --output app.wasm
"$wasmtime" compile app.wasm -o app.cwasm
cat >module.wat <<'WAT'
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const 2))))
WAT
ended=0
"$wasmtime" run module.wat || ended=$?
shows 'a module of preview 1 that exits with 2 ends the process with' '^2$' "$ended"
for code in 0 2 77; do
    ended=0
    "$wasmtime" run --allow-precompiled app.cwasm "$code" || ended=$?
    shows "sys.exit($code) ends the process with" "^$((code != 0))\$" "$ended"
done
