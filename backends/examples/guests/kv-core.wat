;; A core module, as bindings leave it before it is wrapped as a component: it does what kv-component.wat does, and logs the
;; greeting by a function of numbers, which reads its memory.
(module
  (import "my:kv/store@1.0.0" "get" (func $get (param i32 i32 i32)))
  (import "my:kv/store@1.0.0" "set" (func $set (param i32 i32 i32 i32)))
  (import "env" "log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "namegreeting")
  (data (i32.const 64) "hello, ")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 71))
  (func (export "greet")
    (local $length i32)
    (call $get (i32.const 0) (i32.const 4) (i32.const 32))
    (if (i32.eqz (i32.load8_u (i32.const 32))) (then unreachable))
    (local.set $length (i32.add (i32.const 7) (i32.load (i32.const 40))))
    (call $set (i32.const 4) (i32.const 8) (i32.const 64) (local.get $length))
    (call $log (i32.const 64) (local.get $length))))
