//! A handler of WASI 0.3 as text whose callback goes on with what it waits for. It counts what its instance
//! is handed, and says so.

use crate::case::CaseResult;
use crate::cases::wasi03::handler::component;

/// What it is handed. By the letter of the path:
/// - `q` answers with a report;
/// - `w` answers with a report and waits for the end of the request's body or a byte of it, then says `!` and a report;
/// - `b` does the same with backpressure on in between;
/// - `B` puts backpressure on and leaves it on;
/// - `u` does the same as `w`, and traps where it would go on;
/// - `a` does the same as `w`, and then waits for what became of its response;
/// - `A` does the same, and ends its response only then;
/// - `c` waits for what only it could bring about, and cancels its task if it is asked to;
/// - `k` is the same, but goes on waiting if it is asked to cancel;
/// - `l` answers with a report and keeps what it has of the request's body;
/// - `y` yields once, and does the same as `w`;
/// - `t` traps, `s` never ends, `x` exits without an answer, `o` leaves a handle of `fields` open, `g` grows by 16 pages.
///
/// A report has five digits: how many requests the instance was handed, how many are in it, how many were cancelled, how
/// many responses arrived, and how many did not.
///
/// A task's record: 0 the letter, 4 its set, 8 what it reads, 12 its trailers, 16 the response's body, 20 its trailers,
/// 24 what becomes of it, 28 whether that is waited for; 32 what is read, 48 what is written, 64 results.
const MODULE: &str = r#"(module
    (import "wasi:http/types@0.3.0" "[constructor]fields" (func $fields (result i32)))
    (import "wasi:http/types@0.3.0" "[method]request.get-path-with-query" (func $path (param i32 i32)))
    (import "wasi:http/types@0.3.0" "[resource-drop]request" (func $request-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[static]request.consume-body" (func $consume (param i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[future-new-0][static]request.consume-body" (func $res-new (result i64)))
    (import "wasi:http/types@0.3.0" "[async-lower][future-write-0][static]request.consume-body"
        (func $res-write (param i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[future-drop-writable-0][static]request.consume-body" (func $res-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[async-lower][stream-read-1][static]request.consume-body"
        (func $read (param i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[stream-drop-readable-1][static]request.consume-body" (func $read-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[future-drop-readable-2][static]request.consume-body" (func $tail-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[static]response.new" (func $response-new (param i32 i32 i32 i32 i32)))
    (import "wasi:http/types@0.3.0" "[stream-new-0][static]response.new" (func $stream-new (result i64)))
    (import "wasi:http/types@0.3.0" "[async-lower][stream-read-0][static]response.new"
        (func $idle-read (param i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[stream-cancel-read-0][static]response.new"
        (func $idle-cancel (param i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[stream-drop-readable-0][static]response.new" (func $idle-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[async-lower][stream-write-0][static]response.new"
        (func $write (param i32 i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[stream-drop-writable-0][static]response.new" (func $write-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[future-new-1][static]response.new" (func $trailers-new (result i64)))
    (import "wasi:http/types@0.3.0" "[async-lower][future-write-1][static]response.new"
        (func $trailers-write (param i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[future-drop-writable-1][static]response.new" (func $trailers-drop (param i32)))
    (import "wasi:http/types@0.3.0" "[async-lower][future-read-2][static]response.new"
        (func $sent-read (param i32 i32) (result i32)))
    (import "wasi:http/types@0.3.0" "[future-drop-readable-2][static]response.new" (func $sent-drop (param i32)))
    (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
    (import "$root" "[waitable-set-wait]" (func $set-wait (param i32 i32) (result i32)))
    (import "$root" "[waitable-set-drop]" (func $set-drop (param i32)))
    (import "$root" "[waitable-join]" (func $join (param i32 i32)))
    (import "$root" "[context-get-0]" (func $context (result i32)))
    (import "$root" "[context-set-0]" (func $context-set (param i32)))
    (import "$root" "[backpressure-inc]" (func $press))
    (import "$root" "[backpressure-dec]" (func $release))
    (import "[export]$root" "[task-cancel]" (func $task-cancel))
    (import "[export]wasi:http/handler@0.3.0" "[task-return]handle"
        (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))
    (memory (export "memory") 16)
    (global $next (mut i32) (i32.const 0x10000))
    (global $count (mut i32) (i32.const 0))
    (global $inside (mut i32) (i32.const 0))
    (global $cancelled (mut i32) (i32.const 0))
    (global $arrived (mut i32) (i32.const 0))
    (global $lost (mut i32) (i32.const 0))
    (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 3))))
    (func $low (param i64) (result i32) (i32.wrap_i64 (local.get 0)))
    (func $high (param i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32))))
    ;; Waits for what a handle has under way, if it has.
    (func $done (param $handle i32) (param $code i32)
        (local $set i32)
        (if (i32.eq (local.get $code) (i32.const -1)) (then
            (local.set $set (call $set-new))
            (call $join (local.get $handle) (local.get $set))
            (drop (call $set-wait (local.get $set) (i32.const 2048)))
            (call $join (local.get $handle) (i32.const 0))
            (call $set-drop (local.get $set)))))
    (func $digit (param $at i32) (param $number i32)
        (i32.store8 (local.get $at) (i32.add (i32.const 48) (local.get $number))))
    (func $report (param $at i32)
        (call $digit (local.get $at) (global.get $count))
        (call $digit (i32.add (local.get $at) (i32.const 1)) (global.get $inside))
        (call $digit (i32.add (local.get $at) (i32.const 2)) (global.get $cancelled))
        (call $digit (i32.add (local.get $at) (i32.const 3)) (global.get $arrived))
        (call $digit (i32.add (local.get $at) (i32.const 4)) (global.get $lost)))
    ;; Answers, and writes a report.
    (func $begin (param $task i32)
        (local $stream i64)
        (local $trailers i64)
        (local.set $stream (call $stream-new))
        (local.set $trailers (call $trailers-new))
        (call $response-new (call $fields) (i32.const 1) (call $low (local.get $stream)) (call $low (local.get $trailers))
            (i32.add (local.get $task) (i32.const 64)))
        (i32.store offset=16 (local.get $task) (call $high (local.get $stream)))
        (i32.store offset=20 (local.get $task) (call $high (local.get $trailers)))
        (i32.store offset=24 (local.get $task) (i32.load offset=68 (local.get $task)))
        (call $return (i32.const 0) (i32.load offset=64 (local.get $task)) (i32.const 0) (i64.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 0))
        (call $report (i32.add (local.get $task) (i32.const 48)))
        (call $done (i32.load offset=16 (local.get $task))
            (call $write (i32.load offset=16 (local.get $task)) (i32.add (local.get $task) (i32.const 48))
            (i32.const 5))))
    ;; Ends the response.
    (func $close (param $task i32)
        (call $write-drop (i32.load offset=16 (local.get $task)))
        (call $done (i32.load offset=20 (local.get $task))
            (call $trailers-write (i32.load offset=20 (local.get $task)) (i32.const 1024)))
        (call $trailers-drop (i32.load offset=20 (local.get $task))))
    ;; Ends the response, and with it the task, unless it waits for what becomes of it.
    (func $end (param $task i32) (result i32)
        (local $code i32)
        (if (i32.eqz (call $is (local.get $task) (i32.const 65))) (then (call $close (local.get $task))))
        (if (i32.or (call $is (local.get $task) (i32.const 97)) (call $is (local.get $task) (i32.const 65))) (then
            (local.set $code
                (call $sent-read (i32.load offset=24 (local.get $task)) (i32.add (local.get $task) (i32.const 64))))
            (if (i32.ne (local.get $code) (i32.const -1)) (then (return (call $became (local.get $task)))))
            (i32.store offset=28 (local.get $task) (i32.const 1))
            (i32.store offset=4 (local.get $task) (call $set-new))
            (call $join (i32.load offset=24 (local.get $task)) (i32.load offset=4 (local.get $task)))
            (return (call $wait (local.get $task)))))
        (call $sent-drop (i32.load offset=24 (local.get $task)))
        (call $exit))
    (func $exit (result i32)
        (global.set $inside (i32.sub (global.get $inside) (i32.const 1)))
        (i32.const 0))
    (func $wait (param $task i32) (result i32)
        (i32.or (i32.const 2) (i32.shl (i32.load offset=4 (local.get $task)) (i32.const 4))))
    ;; It is known what became of the response.
    (func $became (param $task i32) (result i32)
        (if (i32.load8_u offset=64 (local.get $task))
            (then (global.set $lost (i32.add (global.get $lost) (i32.const 1))))
            (else (global.set $arrived (i32.add (global.get $arrived) (i32.const 1)))))
        (if (call $is (local.get $task) (i32.const 65)) (then (call $close (local.get $task))))
        (call $sent-drop (i32.load offset=24 (local.get $task)))
        (call $exit))
    ;; Has no more to do with the request.
    (func $let-go (param $task i32)
        (call $read-drop (i32.load offset=8 (local.get $task)))
        (call $tail-drop (i32.load offset=12 (local.get $task)))
        (if (i32.load offset=4 (local.get $task)) (then (call $set-drop (i32.load offset=4 (local.get $task))))))
    (func $is (param $task i32) (param $letter i32) (result i32)
        (i32.eq (i32.load (local.get $task)) (local.get $letter)))
    ;; What was waited for is there.
    (func $go-on (param $task i32) (result i32)
        (call $let-go (local.get $task))
        (if (call $is (local.get $task) (i32.const 98)) (then (call $release)))
        (if (call $is (local.get $task) (i32.const 117)) (then unreachable))
        (i32.store8 offset=48 (local.get $task) (i32.const 33))
        (call $report (i32.add (local.get $task) (i32.const 49)))
        (call $done (i32.load offset=16 (local.get $task))
            (call $write (i32.load offset=16 (local.get $task)) (i32.add (local.get $task) (i32.const 48))
            (i32.const 6)))
        (call $end (local.get $task)))
    ;; Takes the request's body, and waits for it.
    (func $await (param $task i32) (param $request i32) (result i32)
        (local $res i64)
        (local.set $res (call $res-new))
        (call $consume (local.get $request) (call $low (local.get $res)) (i32.add (local.get $task) (i32.const 64)))
        (call $done (call $high (local.get $res)) (call $res-write (call $high (local.get $res)) (i32.const 1024)))
        (call $res-drop (call $high (local.get $res)))
        (i32.store offset=8 (local.get $task) (i32.load offset=64 (local.get $task)))
        (i32.store offset=12 (local.get $task) (i32.load offset=68 (local.get $task)))
        (if (i32.or (call $is (local.get $task) (i32.const 98)) (call $is (local.get $task) (i32.const 66)))
            (then (call $press)))
        (call $begin (local.get $task))
        (if (call $is (local.get $task) (i32.const 108)) (then (return (call $end (local.get $task)))))
        (if (i32.ne (i32.const -1) (call $read (i32.load offset=8 (local.get $task))
            (i32.add (local.get $task) (i32.const 32)) (i32.const 16))) (then (return (call $go-on (local.get $task)))))
        (i32.store offset=4 (local.get $task) (call $set-new))
        (if (call $is (local.get $task) (i32.const 121)) (then (return (i32.const 1))))
        (call $join (i32.load offset=8 (local.get $task)) (i32.load offset=4 (local.get $task)))
        (call $wait (local.get $task)))
    ;; Waits for a stream that nobody writes to.
    (func $idle (param $task i32) (result i32)
        (local $ends i64)
        (local.set $ends (call $stream-new))
        (i32.store offset=8 (local.get $task) (call $low (local.get $ends)))
        (i32.store offset=16 (local.get $task) (call $high (local.get $ends)))
        (drop (call $idle-read (i32.load offset=8 (local.get $task)) (i32.add (local.get $task) (i32.const 32))
            (i32.const 16)))
        (i32.store offset=4 (local.get $task) (call $set-new))
        (call $join (i32.load offset=8 (local.get $task)) (i32.load offset=4 (local.get $task)))
        (call $wait (local.get $task)))
    (func (export "[async-lift]wasi:http/handler@0.3.0#handle") (param $request i32) (result i32)
        (local $task i32)
        (local $letter i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (global.set $inside (i32.add (global.get $inside) (i32.const 1)))
        (local.set $task (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 128)))
        (if (call $context) (then unreachable))
        (call $context-set (local.get $task))
        (call $path (local.get $request) (i32.add (local.get $task) (i32.const 64)))
        (local.set $letter (i32.load8_u offset=1 (i32.load offset=68 (local.get $task))))
        (i32.store (local.get $task) (local.get $letter))
        (if (call $is (local.get $task) (i32.const 116)) (then unreachable))
        (if (call $is (local.get $task) (i32.const 115)) (then (loop $ever (br $ever))))
        (if (call $is (local.get $task) (i32.const 111)) (then (drop (call $fields))))
        (if (call $is (local.get $task) (i32.const 103)) (then (drop (memory.grow (i32.const 16)))))
        (if (i32.or (i32.or (call $is (local.get $task) (i32.const 113)) (call $is (local.get $task) (i32.const 120)))
            (i32.or (call $is (local.get $task) (i32.const 111)) (call $is (local.get $task) (i32.const 103)))) (then
            (call $request-drop (local.get $request))
            (if (call $is (local.get $task) (i32.const 120)) (then (return (call $exit))))
            (call $begin (local.get $task))
            (return (call $end (local.get $task)))))
        (if (i32.or (call $is (local.get $task) (i32.const 99)) (call $is (local.get $task) (i32.const 107))) (then
            (call $request-drop (local.get $request))
            (return (call $idle (local.get $task)))))
        (call $await (local.get $task) (local.get $request)))
    (func (export "[callback][async-lift]wasi:http/handler@0.3.0#handle")
        (param $event i32) (param $handle i32) (param $result i32) (result i32)
        (local $task i32)
        (local.set $task (call $context))
        (if (i32.eq (local.get $event) (i32.const 6)) (then
            (if (call $is (local.get $task) (i32.const 107)) (then (return (call $wait (local.get $task)))))
            (call $join (i32.load offset=8 (local.get $task)) (i32.const 0))
            (drop (call $idle-cancel (i32.load offset=8 (local.get $task))))
            (call $idle-drop (i32.load offset=8 (local.get $task)))
            (call $write-drop (i32.load offset=16 (local.get $task)))
            (call $set-drop (i32.load offset=4 (local.get $task)))
            (global.set $cancelled (i32.add (global.get $cancelled) (i32.const 1)))
            (call $task-cancel)
            (return (call $exit))))
        (if (i32.eqz (local.get $event)) (then
            ;; It has yielded: what it reads is told by a set.
            (call $join (i32.load offset=8 (local.get $task)) (i32.load offset=4 (local.get $task)))
            (return (call $wait (local.get $task)))))
        (call $join (local.get $handle) (i32.const 0))
        (if (i32.load offset=28 (local.get $task)) (then
            (call $set-drop (i32.load offset=4 (local.get $task)))
            (return (call $became (local.get $task)))))
        (call $go-on (local.get $task))))"#;

/// A service that tells how many requests its instance was handed, for tests of what serves: `/q` is answered at once, and
/// `/w` once a byte of its body has come. Both are told a digit for the requests that the instance was handed, and one for
/// those that are in it; `/w` at its end, behind a `!`.
///
/// # Errors
/// [`Unmet::Harness`](crate::Unmet::Harness) if it is not made.
pub fn counter() -> CaseResult<Vec<u8>> {
    component(MODULE, "wasi:http/service@0.3.0")
}
