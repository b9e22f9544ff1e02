;; Fetches the URL in its first argument through `wasi_experimental_http`, and prints the body.
;; Exits with the code of the first call that fails.
(module
  (import "wasi_experimental_http" "req"
    (func $req (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_experimental_http" "body_read" (func $body_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_experimental_http" "close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  ;; 0 method, 8 argument count, 12 argument bytes, 16 status, 20 handle, 24 chunk as (pointer, length), 32 written,
  ;; 64 argument pointers, 1024 arguments, 65536 chunk
  (memory (export "memory") 2)
  (data (i32.const 0) "GET")
  (data (i32.const 24) "\00\00\01\00")

  (func $check (param $code i32)
    (if (local.get $code) (then (call $proc_exit (local.get $code)))))

  (func (export "_start") (local $url i32)
    (call $check (call $args_sizes_get (i32.const 8) (i32.const 12)))
    (call $check (call $args_get (i32.const 64) (i32.const 1024)))
    (local.set $url (i32.load (i32.const 68)))
    (call $check (call $req
      ;; The last argument ends one byte, its NUL, before the end of all arguments.
      (local.get $url) (i32.sub (i32.add (i32.const 1023) (i32.load (i32.const 12))) (local.get $url))
      (i32.const 0) (i32.const 3)
      (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0)
      (i32.const 16) (i32.const 20)))
    (loop $next
      (call $check (call $body_read (i32.load (i32.const 20)) (i32.const 65536) (i32.const 65536) (i32.const 28)))
      (if (i32.load (i32.const 28)) (then
        (call $check (call $fd_write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 32)))
        (br $next))))
    (call $check (call $close (i32.load (i32.const 20))))))
