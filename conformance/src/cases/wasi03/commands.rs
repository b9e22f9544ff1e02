//! Commands of WASI 0.3: their streams, how they end, clocks and randomness.

use std::io::{Error, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wharf_core::grants::{Capture, Input, Output, WasiConfig};
use wharf_core::{GuestConfig, HostedGuest, Kind, chain};

use super::handler::component;
use super::probe::load;
use crate::case::{Case, CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

const STDIN: &str = "core/wit/0.3/cli.wit: stdin.read-via-stream";
const STDOUT: &str = "core/wit/0.3/cli.wit: stdout.write-via-stream";
const RUN: &str = "core/wit/0.3/cli.wit: run, exit";
const CLOCKS: &str = "core/wit/0.3/clocks.wit";
const RANDOM: &str = "core/wit/0.3/random.wit";

/// The module. `STEPS` is what the command does; what is not said otherwise lies at 0x10000.
const MODULE: &str = r#"(module
    (import "wasi:cli/stdin@0.3.0" "read-via-stream" (func $stdin (param i32)))
    (import "wasi:cli/stdin@0.3.0" "[async-lower][stream-read-0]read-via-stream"
        (func $read (param i32 i32 i32) (result i32)))
    (import "wasi:cli/stdin@0.3.0" "[stream-drop-readable-0]read-via-stream" (func $read-drop (param i32)))
    (import "wasi:cli/stdin@0.3.0" "[stream-cancel-read-0]read-via-stream" (func $read-cancel (param i32) (result i32)))
    (import "wasi:cli/stdin@0.3.0" "[async-lower][future-read-1]read-via-stream"
        (func $in-read (param i32 i32) (result i32)))
    (import "wasi:cli/stdin@0.3.0" "[future-cancel-read-1]read-via-stream" (func $in-cancel (param i32) (result i32)))
    (import "wasi:cli/stdin@0.3.0" "[future-drop-readable-1]read-via-stream" (func $in-drop (param i32)))
    (import "wasi:cli/stdout@0.3.0" "write-via-stream" (func $stdout (param i32) (result i32)))
    (import "wasi:cli/stdout@0.3.0" "[stream-new-0]write-via-stream" (func $new (result i64)))
    (import "wasi:cli/stdout@0.3.0" "[async-lower][stream-write-0]write-via-stream"
        (func $write (param i32 i32 i32) (result i32)))
    (import "wasi:cli/stdout@0.3.0" "[stream-drop-writable-0]write-via-stream" (func $write-drop (param i32)))
    (import "wasi:cli/stdout@0.3.0" "[async-lower][future-read-1]write-via-stream"
        (func $out-read (param i32 i32) (result i32)))
    (import "wasi:cli/stdout@0.3.0" "[future-drop-readable-1]write-via-stream" (func $out-drop (param i32)))
    (import "wasi:cli/stderr@0.3.0" "write-via-stream" (func $stderr (param i32) (result i32)))
    (import "wasi:cli/exit@0.3.0" "exit-with-code" (func $exit (param i32)))
    (import "wasi:clocks/monotonic-clock@0.3.0" "now" (func $now (result i64)))
    (import "wasi:clocks/monotonic-clock@0.3.0" "wait-until" (func $wait-until (param i64)))
    (import "wasi:clocks/monotonic-clock@0.3.0" "wait-for" (func $wait-for (param i64)))
    (import "wasi:clocks/system-clock@0.3.0" "now" (func $today (param i32)))
    (import "wasi:random/random@0.3.0" "get-random-bytes" (func $random (param i64 i32)))
    (import "$root" "[waitable-set-new]" (func $set-new (result i32)))
    (import "$root" "[waitable-set-wait]" (func $set-wait (param i32 i32) (result i32)))
    (import "$root" "[waitable-join]" (func $join (param i32 i32)))
    (import "[export]wasi:cli/run@0.3.0" "[task-return]run" (func $return (param i32)))
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 0x300000))
    (global $set (mut i32) (i32.const 0))
    (global $in (mut i32) (i32.const 0))
    (global $in-end (mut i32) (i32.const 0))
    (global $out (mut i32) (i32.const 0))
    (global $out-end (mut i32) (i32.const 0))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 3))))
    (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
    ;; What a handle has under way ends with.
    (func $wait (param $handle i32) (param $code i32) (result i32)
        (if (i32.eq (local.get $code) (i32.const -1)) (then
            (if (i32.eqz (global.get $set)) (then (global.set $set (call $set-new))))
            (call $join (local.get $handle) (global.get $set))
            (drop (call $set-wait (global.get $set) (i32.const 16)))
            (call $join (local.get $handle) (i32.const 0))
            (local.set $code (i32.load (i32.const 20)))))
        (local.get $code))
    ;; Has standard input at hand.
    (func $open-in
        (call $stdin (i32.const 16))
        (global.set $in (i32.load (i32.const 16)))
        (global.set $in-end (i32.load (i32.const 20))))
    ;; Has standard output at hand, or error.
    (func $open-out (param $errors i32)
        (local $ends i64)
        (local.set $ends (call $new))
        (global.set $out (i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32))))
        (global.set $out-end (if (result i32) (local.get $errors)
            (then (call $stderr (i32.wrap_i64 (local.get $ends))))
            (else (call $stdout (i32.wrap_i64 (local.get $ends)))))))
    ;; Reads at most so much; gives what `stream.read` does.
    (func $take (param $most i32) (result i32)
        (call $wait (global.get $in) (call $read (global.get $in) (i32.const 0x10000) (local.get $most))))
    ;; Writes all of it.
    (func $put (param $at i32) (param $len i32)
        (local $code i32)
        (loop $again
            (if (local.get $len) (then
                (local.set $code
                    (call $wait (global.get $out) (call $write (global.get $out) (local.get $at) (local.get $len))))
                (if (i32.and (local.get $code) (i32.const 15)) (then unreachable))
                (local.set $at (i32.add (local.get $at) (i32.shr_u (local.get $code) (i32.const 4))))
                (local.set $len (i32.sub (local.get $len) (i32.shr_u (local.get $code) (i32.const 4))))
                (br $again)))))
    ;; How reading ended: 0 for well, or one more than the error.
    (func $in-result (result i32)
        (call $is (call $wait (global.get $in-end) (call $in-read (global.get $in-end) (i32.const 32))) (i32.const 0))
        (call $in-drop (global.get $in-end))
        (i32.add (i32.load8_u (i32.const 32)) (i32.load8_u (i32.const 33))))
    ;; How writing ended.
    (func $out-result (result i32)
        (call $is (call $wait (global.get $out-end) (call $out-read (global.get $out-end) (i32.const 32))) (i32.const 0))
        (call $out-drop (global.get $out-end))
        (i32.load8_u (i32.const 32)))
    ;; Copies input to output by what is read at once.
    (func $copy (param $most i32)
        (local $code i32)
        (loop $again
            (local.set $code (call $take (local.get $most)))
            (call $put (i32.const 0x10000) (i32.shr_u (local.get $code) (i32.const 4)))
            (br_if $again (i32.eqz (i32.and (local.get $code) (i32.const 15))))))
    (func (export "[async-lift]wasi:cli/run@0.3.0#run") (result i32)
        STEPS
        (i32.const 0))
    (func (export "[callback][async-lift]wasi:cli/run@0.3.0#run") (param i32 i32 i32) (result i32)
        unreachable))"#;

/// Runs the command on this input; gives its exit code and what it has written to output and error.
fn run(context: &Context, steps: &str, input: Input) -> CaseResult<(i32, Vec<u8>, Vec<u8>)> {
    let (out, errors) = (Capture::new(1 << 23), Capture::new(1 << 16));
    let code = run_with(context, steps, input, Output::Capture(out.clone()), Output::Capture(errors.clone()))?;
    Ok((code, out.contents(), errors.contents()))
}

/// The command's guest.
fn guest(context: &Context, steps: &str) -> CaseResult<Arc<dyn HostedGuest>> {
    context.subject().shared(&format!("wasi03/commands/{steps}"), || {
        load(context, &component(&MODULE.replace("STEPS", steps), "wasi:cli/command@0.3.0")?)
    })
}

fn run_with(context: &Context, steps: &str, input: Input, out: Output, errors: Output) -> CaseResult<i32> {
    let guest = guest(context, steps)?;
    let wasi = WasiConfig::new().stdin(input).stdout(out).stderr(errors);
    Ok(guest.run(GuestConfig { wasi, timeout: Some(Duration::from_secs(20)), ..GuestConfig::default() }, None)?)
}

/// The command ends with this code and writes nothing.
fn exits(context: &Context, steps: &str, code: i32) -> CaseResult {
    check_eq!(run(context, steps, Input::Empty)?, (code, vec![], vec![]), "its exit code, output and errors");
    Ok(())
}

/// The command breaks a rule, which on wharf's own host the trap names, with its function unless that is one of WASI's.
fn traps(context: &Context, steps: &str, function: &str, rule: &str) -> CaseResult {
    let config = GuestConfig { timeout: Some(Duration::from_secs(20)), ..GuestConfig::default() };
    match guest(context, steps)?.run(config, None) {
        Ok(code) => Err(Unmet::failed(format!("the command should trap and exits with {code}"))),
        Err(error) => {
            let message = chain(&error);
            check_eq!(error.kind(), Kind::Trap, "the kind of the error `{message}`");
            if context.subject().component_host().is_none() {
                check!(message.contains(function) && message.contains(rule), "`{message}` does not say `{rule}`");
            }
            Ok(())
        }
    }
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// What arrives piece by piece.
struct Pieces(usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(left) = self.0.checked_sub(1) else { return Ok(0) };
        self.0 = left;
        std::thread::sleep(Duration::from_millis(2));
        buffer[..3].copy_from_slice(b"abc");
        Ok(3)
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(Error::other("the disk is gone"))
    }
}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(Error::from(ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Gives the host's input to the host's output.
const PIPE: &str = r#"(call $open-in)
    (global.set $out-end (call $stdout (global.get $in)))
    (call $is (call $out-result) (i32.const 0))
    (call $is (call $in-result) (i32.const 0))
    (call $return (i32.const 0))"#;

const COPY: &str = r#"(call $open-in)
    (call $open-out (i32.const 0))
    (call $copy (i32.const 5000))
    (call $write-drop (global.get $out))
    (call $is (call $out-result) (i32.const 0))
    (call $is (call $in-result) (i32.const 0))
    (call $return (i32.const 0))"#;

/// Whatever the size, the command writes what it is given.
fn copies(context: &Context, steps: &str) -> CaseResult {
    for size in [0, 1, 5000, 5001, 1_500_000] {
        let (code, out, _) = run(context, steps, Input::Bytes(bytes(size)))?;
        check_eq!((code, out.len()), (0, size), "the exit code, and how much is written");
        check!(out == bytes(size), "something else is written");
    }
    let (code, out, _) = run(context, steps, Input::reader(Pieces(20)))?;
    check_eq!((code, out), (0, b"abc".repeat(20)), "the exit code, and what is written of what arrives piece by piece");
    Ok(())
}

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::must("wasi03/commands/input-is-read-and-written", STDIN, |context| copies(context, COPY)),
    Case::must("wasi03/commands/input-is-passed-to-output", STDOUT, |context| copies(context, PIPE)),
    Case::must("wasi03/commands/what-was-passed-to-output-is-written-after-the-end", STDOUT, |context| {
        copies(
            context,
            r#"(call $open-in)
            (call $out-drop (call $stdout (global.get $in)))
            (call $in-drop (global.get $in-end))
            (call $return (i32.const 0))"#,
        )
    }),
    Case::must("wasi03/commands/one-byte-at-a-time", STDIN, |context| {
        let steps = COPY.replace("5000", "1");
        let (code, out, _) = run(context, &steps, Input::Bytes(bytes(500)))?;
        check_eq!((code, &out[..]), (0, &bytes(500)[..]), "the exit code, and what is written");
        Ok(())
    }),
    Case::must("wasi03/commands/a-read-of-nothing-waits-for-something", STDIN, |context| {
        let steps = r#"(call $open-in)
            (call $is (call $take (i32.const 0)) (i32.const 0))
            (call $is (call $take (i32.const 1)) (i32.const 0x10))
            (call $return (i32.const 0))"#;
        check_eq!(run(context, steps, Input::reader(Pieces(1)))?.0, 0, "the exit code");
        Ok(())
    }),
    Case::must("wasi03/commands/a-read-under-way-is-cancelled", STDIN, |context| {
        let steps = r#"(call $open-in)
            (call $is (call $read (global.get $in) (i32.const 0x10000) (i32.const 9)) (i32.const -1))
            (call $is (call $read-cancel (global.get $in)) (i32.const 2))
            (call $read-drop (global.get $in))
            (call $return (i32.const 0))"#;
        struct Silent;
        impl Read for Silent {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                std::thread::sleep(Duration::from_millis(300));
                Ok(0)
            }
        }
        check_eq!(run(context, steps, Input::reader(Silent))?.0, 0, "the exit code");
        Ok(())
    }),
    Case::must("wasi03/commands/a-wait-for-the-end-of-input-is-cancelled", STDIN, |context| {
        exits(
            context,
            r#"(call $open-in)
            (call $is (call $in-read (global.get $in-end) (i32.const 32)) (i32.const -1))
            (call $is (call $in-cancel (global.get $in-end)) (i32.const 2))
            (call $is (call $take (i32.const 5)) (i32.const 1))
            (call $return (call $in-result))"#,
            0,
        )
    }),
    Case::must("wasi03/commands/the-end-of-input-is-told-once", STDIN, |context| {
        let steps = r#"(call $open-in)
            (call $is (call $take (i32.const 5)) (i32.const 1))
            (drop (call $wait (global.get $in-end) (call $in-read (global.get $in-end) (i32.const 32))))
            (drop (call $in-read (global.get $in-end) (i32.const 32)))"#;
        traps(context, steps, "future.read", "can only be dropped")
    }),
    Case::must("wasi03/commands/input-that-has-ended-is-not-read", STDIN, |context| {
        let steps = r#"(call $open-in)
            (call $is (call $take (i32.const 5)) (i32.const 1))
            (drop (call $take (i32.const 5)))"#;
        traps(context, steps, "stream.read", "can only be dropped")
    }),
    Case::must("wasi03/commands/the-end-of-output-is-not-dropped-while-it-is-read", STDOUT, |context| {
        let steps = r#"(call $open-out (i32.const 0))
            (drop (call $out-read (global.get $out-end) (i32.const 32)))
            (call $out-drop (global.get $out-end))"#;
        traps(context, steps, "future.drop-readable", "still under way")
    }),
    Case::must("wasi03/commands/output-that-was-given-away-is-not-given-again", STDOUT, |context| {
        let steps = r#"(local $ends i64)
            (local.set $ends (call $new))
            (drop (call $stdout (i32.wrap_i64 (local.get $ends))))
            (drop (call $stdout (i32.wrap_i64 (local.get $ends))))"#;
        traps(context, steps, "", "is not")
    }),
    Case::must("wasi03/commands/what-is-written-to-is-not-given", STDOUT, |context| {
        let steps = "(drop (call $stdout (i32.wrap_i64 (i64.shr_u (call $new) (i64.const 32)))))";
        traps(context, steps, "", "is not the readable end of a stream")
    }),
    Case::must("wasi03/commands/several-outputs-are-written-in-order", STDOUT, |context| {
        let steps = r#"(local $first i32)
            (i64.store (i32.const 0x10000) (i64.const 0x6867666564636261))
            (call $open-out (i32.const 0))
            (local.set $first (global.get $out))
            (call $open-out (i32.const 0))
            (call $put (i32.const 0x10000) (i32.const 2))
            (drop (call $wait (local.get $first) (call $write (local.get $first) (i32.const 0x10002) (i32.const 2))))
            (call $put (i32.const 0x10004) (i32.const 2))
            (call $return (i32.const 0))"#;
        let ended = run(context, steps, Input::Empty)?;
        check_eq!(ended, (0, b"abcdef".to_vec(), vec![]), "the exit code, output and errors");
        Ok(())
    }),
    Case::must("wasi03/commands/an-exit-leaves-what-is-under-way", RUN, |context| {
        exits(
            context,
            r#"(call $open-in)
            (drop (call $in-read (global.get $in-end) (i32.const 32)))
            (call $exit (i32.const 5))"#,
            5,
        )
    }),
    Case::must("wasi03/commands/input-that-is-not-wanted-ends-well", STDIN, |context| {
        let steps = r#"(call $open-in)
            (call $is (call $take (i32.const 2)) (i32.const 0x20))
            (call $read-drop (global.get $in))
            (call $return (call $in-result))"#;
        check_eq!(run(context, steps, Input::Bytes(bytes(100)))?.0, 0, "the exit code");
        Ok(())
    }),
    Case::must("wasi03/commands/input-that-cannot-be-read-is-an-error", STDIN, |context| {
        let steps = r#"(call $open-in)
            (call $is (call $take (i32.const 2)) (i32.const 1))
            (call $is (call $in-result) (i32.const 1))
            (call $return (i32.const 0))"#;
        check_eq!(run(context, steps, Input::reader(Broken))?.0, 0, "the exit code");
        Ok(())
    }),
    Case::must("wasi03/commands/output-that-cannot-be-written-is-an-error", STDOUT, |context| {
        let steps = r#"(call $open-out (i32.const 0))
            (loop $again
                (br_if $again (i32.ne (i32.const 1) (i32.and (i32.const 15)
                    (call $wait (global.get $out) (call $write (global.get $out) (i32.const 0x10000) (i32.const 4)))))))
            (call $return (i32.eqz (call $out-result)))"#;
        let code = run_with(context, steps, Input::Empty, Output::writer(Broken), Output::Discard)?;
        check_eq!(code, 0, "the exit code");
        Ok(())
    }),
    Case::must("wasi03/commands/errors-are-written-apart", STDOUT, |context| {
        let steps = r#"(call $open-out (i32.const 1))
            (i32.store (i32.const 0x10000) (i32.const 0x64636261))
            (call $put (i32.const 0x10000) (i32.const 4))
            (call $write-drop (global.get $out))
            (call $return (call $out-result))"#;
        let ended = run(context, steps, Input::Empty)?;
        check_eq!(ended, (0, vec![], b"abcd".to_vec()), "the exit code, output and errors");
        Ok(())
    }),
    Case::must("wasi03/commands/nothing-is-written-and-waited-for", STDOUT, |context| {
        exits(
            context,
            r#"(call $open-out (i32.const 0))
            (call $is (call $wait (global.get $out)
                (call $write (global.get $out) (i32.const -1) (i32.const 0))) (i32.const 0))
            (call $write-drop (global.get $out))
            (call $return (call $out-result))"#,
            0,
        )
    }),
    Case::must("wasi03/commands/what-is-written-after-the-end-is-written", RUN, |context| {
        let steps = r#"(call $open-out (i32.const 0))
            (call $return (i32.const 0))
            (i32.store (i32.const 0x10000) (i32.const 0x64636261))
            (call $put (i32.const 0x10000) (i32.const 4))
            (call $write-drop (global.get $out))
            (call $is (call $out-result) (i32.const 0))"#;
        let ended = run(context, steps, Input::Empty)?;
        check_eq!(ended, (0, b"abcd".to_vec(), vec![]), "the exit code, output and errors");
        Ok(())
    }),
    Case::must("wasi03/commands/an-error-is-a-one", RUN, |context| exits(context, "(call $return (i32.const 1))", 1)),
    Case::must("wasi03/commands/an-exit-is-its-code", RUN, |context| exits(context, "(call $exit (i32.const 7))", 7)),
    Case::must("wasi03/commands/an-exit-writes-what-was-written", RUN, |context| {
        let steps = r#"(call $open-out (i32.const 0))
            (i32.store (i32.const 0x10000) (i32.const 0x64636261))
            (call $put (i32.const 0x10000) (i32.const 4))
            (call $exit (i32.const 3))"#;
        let ended = run(context, steps, Input::Empty)?;
        check_eq!(ended, (3, b"abcd".to_vec(), vec![]), "the exit code, output and errors");
        Ok(())
    }),
    Case::must("wasi03/commands/time-goes-on", CLOCKS, |context| {
        exits(
            context,
            r#"(i64.store (i32.const 40) (call $now))
            (call $wait-for (i64.const 3000000))
            (if (i64.lt_u (i64.sub (call $now) (i64.load (i32.const 40))) (i64.const 3000000)) (then unreachable))
            (i64.store (i32.const 40) (i64.add (call $now) (i64.const 3000000)))
            (call $wait-until (i64.load (i32.const 40)))
            (if (i64.lt_u (call $now) (i64.load (i32.const 40))) (then unreachable))
            (call $return (i32.const 0))"#,
            0,
        )
    }),
    Case::must("wasi03/commands/nobody-waits-for-the-past", CLOCKS, |context| {
        exits(
            context,
            "(call $wait-until (i64.const 0)) (call $wait-for (i64.const 0)) (call $return (i32.const 0))",
            0,
        )
    }),
    Case::must("wasi03/commands/today-is-after-2020", CLOCKS, |context| {
        exits(
            context,
            r#"(call $today (i32.const 40))
            (if (i64.lt_s (i64.load (i32.const 40)) (i64.const 1600000000)) (then unreachable))
            (if (i32.gt_u (i32.load (i32.const 48)) (i32.const 999999999)) (then unreachable))
            (call $return (i32.const 0))"#,
            0,
        )
    }),
    Case::must("wasi03/commands/randomness-has-a-size", RANDOM, |context| {
        // At most as many as are asked for, but some; and none if none are.
        exits(
            context,
            r#"(call $random (i64.const 0) (i32.const 40))
            (call $is (i32.load (i32.const 44)) (i32.const 0))
            (call $random (i64.const 64) (i32.const 40))
            (if (i32.gt_u (i32.load (i32.const 44)) (i32.const 64)) (then unreachable))
            (if (i32.lt_u (i32.load (i32.const 44)) (i32.const 1)) (then unreachable))
            (call $random (i64.const 64) (i32.const 48))
            ;; Two of them are alike once in 2 to the 64.
            (if (i64.eq (i64.load (i32.load (i32.const 40))) (i64.load (i32.load (i32.const 48)))) (then unreachable))
            (call $return (i32.const 0))"#,
            0,
        )
    }),
];
