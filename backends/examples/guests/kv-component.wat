;; A component that imports a key-value interface: `greet` gets the name that the store has, and sets a greeting.
(component
  (import "my:kv/store@1.0.0" (instance $store
    (export "get" (func (param "key" string) (result (option string))))
    (export "set" (func (param "key" string) (param "value" string)))))
  (core module $memory
    (memory (export "memory") 1)
    ;; All that the host allocates here is one value, which lies behind the words it is joined to.
    (data (i32.const 0) "namegreeting")
    (data (i32.const 64) "hello, ")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 71)))
  (core instance $memory (instantiate $memory))
  (core func $get (canon lower (func $store "get")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $set (canon lower (func $store "set") (memory (core memory $memory "memory"))))
  (core module $greeter
    (import "store" "get" (func $get (param i32 i32 i32)))
    (import "store" "set" (func $set (param i32 i32 i32 i32)))
    (import "memory" "memory" (memory 1))
    (func (export "greet")
      (call $get (i32.const 0) (i32.const 4) (i32.const 32))
      ;; The option at 32: its case, where the string lies, and its length.
      (if (i32.eqz (i32.load8_u (i32.const 32))) (then unreachable))
      (call $set (i32.const 4) (i32.const 8) (i32.const 64) (i32.add (i32.const 7) (i32.load (i32.const 40))))))
  (core instance $greeter (instantiate $greeter
    (with "store" (instance (export "get" (func $get)) (export "set" (func $set))))
    (with "memory" (instance $memory))))
  (func (export "greet") (canon lift (core func $greeter "greet"))))
