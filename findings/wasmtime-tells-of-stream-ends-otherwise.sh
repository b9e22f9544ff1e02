#!/usr/bin/env bash
# Wasmtime 49 tells the ends of a stream otherwise than the component model's reference implementation says, where one of
# them is dropped, cancelled or asked for nothing.
#
# Assumed: `waitable-set.poll` tells of an end only if a read or write of it was under way (CanonicalABI.md,
#          SharedStreamImpl.drop); a write that was cancelled after a part of it was read says that it completed
#          (cancel_copy), and one of no bytes waits for a reader where there is none (SharedStreamImpl.write).
# Seen:    in wasmtime 49.0.3 the first gives event 2 (STREAM_READ) for an end that nobody reads, 0 (NONE) by the book; the
#          second 18 (1 << 4 | CANCELLED), 16 (1 << 4 | COMPLETED) by the book; the third 0 (COMPLETED), since an earlier
#          read of no bytes still counts that has ended and was not told, 4294967295 (BLOCKED) by the book.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

cat >stream.wat <<'WAT'
(component
  (type $bytes (stream u8))
  (core module $memory (memory (export "memory") 1))
  (core instance $memory (instantiate $memory))
  (core func $return (canon task.return (result u32)))
  (core func $new (canon stream.new $bytes))
  (core func $read (canon stream.read $bytes async (memory (core memory $memory "memory"))))
  (core func $write (canon stream.write $bytes async (memory (core memory $memory "memory"))))
  (core func $cancel-write (canon stream.cancel-write $bytes))
  (core func $drop-writable (canon stream.drop-writable $bytes))
  (core func $set-new (canon waitable-set.new))
  (core func $set-poll (canon waitable-set.poll (memory (core memory $memory "memory"))))
  (core func $join (canon waitable.join))
  (core module $main
    (import "" "return" (func $return (param i32)))
    (import "" "new" (func $new (result i64)))
    (import "" "read" (func $read (param i32 i32 i32) (result i32)))
    (import "" "write" (func $write (param i32 i32 i32) (result i32)))
    (import "" "cancel-write" (func $cancel-write (param i32) (result i32)))
    (import "" "drop-writable" (func $drop-writable (param i32)))
    (import "" "set-new" (func $set-new (result i32)))
    (import "" "set-poll" (func $set-poll (param i32 i32) (result i32)))
    (import "" "join" (func $join (param i32 i32)))
    (global $r (mut i32) (i32.const 0))
    (global $w (mut i32) (i32.const 0))
    (func $open (local $ends i64)
      (local.set $ends (call $new))
      (global.set $r (i32.wrap_i64 (local.get $ends)))
      (global.set $w (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))))
    ;; The writable end is dropped while nothing reads: is there an event?
    (func (export "dropped") (result i32) (local $set i32)
      (call $open)
      (local.set $set (call $set-new))
      (call $join (global.get $r) (local.get $set))
      (call $drop-writable (global.get $w))
      (call $return (call $set-poll (local.get $set) (i32.const 64)))
      (i32.const 0))
    ;; One of eight bytes was read: what does cancelling say?
    (func (export "cancelled") (result i32)
      (call $open)
      (drop (call $write (global.get $w) (i32.const 0) (i32.const 8)))
      (drop (call $read (global.get $r) (i32.const 32) (i32.const 1)))
      (call $return (call $cancel-write (global.get $w)))
      (i32.const 0))
    ;; A read of nothing has ended with a write that was cancelled: does a write of nothing wait for another?
    (func (export "nothing") (result i32)
      (call $open)
      (drop (call $read (global.get $r) (i32.const 32) (i32.const 0)))
      (drop (call $write (global.get $w) (i32.const 0) (i32.const 1)))
      (drop (call $cancel-write (global.get $w)))
      (call $return (call $write (global.get $w) (i32.const 0) (i32.const 0)))
      (i32.const 0))
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (core instance $main (instantiate $main (with "" (instance
    (export "return" (func $return)) (export "new" (func $new)) (export "read" (func $read)) (export "write" (func $write))
    (export "cancel-write" (func $cancel-write)) (export "drop-writable" (func $drop-writable))
    (export "set-new" (func $set-new)) (export "set-poll" (func $set-poll)) (export "join" (func $join))))))
  (func (export "dropped") async (result u32)
    (canon lift (core func $main "dropped") async (callback (core func $main "callback"))))
  (func (export "cancelled") async (result u32)
    (canon lift (core func $main "cancelled") async (callback (core func $main "callback"))))
  (func (export "nothing") async (result u32)
    (canon lift (core func $main "nothing") async (callback (core func $main "callback")))))
WAT

install_wasmtime 49.0.3
shows 'an event of an end that nobody reads' '^2$' "$("$wasmtime" run --invoke 'dropped()' stream.wat)"
shows 'one of eight bytes was read, and the write cancelled' '^18$' "$("$wasmtime" run --invoke 'cancelled()' stream.wat)"
shows 'a write of nothing, with no reader' '^0$' "$("$wasmtime" run --invoke 'nothing()' stream.wat)"
