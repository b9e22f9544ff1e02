//! Random programs over streams, futures and calls, which begin, meet, are cancelled and dropped in every order. What each
//! returns is what a model of the specification says, on every engine and on Wasmtime's own host.

mod model;

use std::fmt::Write;

use wharf_core::{Kind, Stop, chain};

use self::model::{Broken, Channel, Side};
use super::probe::call_once;
use crate::case::{Case, CaseResult};
use crate::context::Context;
use crate::random::{PROGRAMS, Random, SEED, number, seed};
use crate::{check, check_eq};

/// The cases of this file.
pub(super) const CASES: &[Case] =
    &[Case::must("wasi03/random/programs", "CanonicalABI.md: streams, futures and subtasks", programs)];

/// How many streams and futures a program has at a time.
const CHANNELS: usize = 5;

/// Those from here on are futures.
const FUTURES: usize = 3;

/// Where reads put what they read, a place for each.
const READ: u32 = 0x1000;

/// How many bytes each place has.
const PLACE: u32 = 0x40;

/// What a program returns in which nothing is wrong.
const RIGHT: u32 = u32::MAX;

/// What writes take their bytes from.
const WRITTEN: u32 = 0x2000;

/// How many bytes that is.
const PATTERN: u32 = 0x80;

/// A program: the text of its function, what it looks at, and whether it breaks a rule in the end.
struct Program {
    text: String,
    looks: Vec<(String, u32)>,
    breaks: bool,
}

/// One that is being made, and what it has come to.
struct Making {
    text: String,
    /// What is looked at, and what it has to be.
    looks: Vec<(String, u32)>,
    memory: Vec<u8>,
    channels: [Option<Channel>; CHANNELS],
    /// Whether a call of the host's is under way.
    calling: bool,
    /// Whether it is for Wasmtime's host. When one end is dropped, that tells the other one even if nothing is under way
    /// there, and changes what was not told; a copy that is cancelled is told as cancelled even if it has come to something;
    /// and a copy of nothing meets one that has ended and was not told.
    wasmtimes: bool,
}

impl Making {
    /// The program does this, which gives a number.
    fn looks(&mut self, code: &str, value: u32) {
        _ = writeln!(self.text, "(call $look (i32.const {}) (i32.const {value}) {code})", self.looks.len());
        self.looks.push((code.to_owned(), value));
    }

    fn does(&mut self, code: &str) {
        _ = writeln!(self.text, "{code}");
    }

    /// One step, which may break a rule only if it is to.
    fn step(&mut self, random: &mut Random, breaks: bool) -> Result<(), Broken> {
        match random.below(24) {
            0 => self.looks("(call $yield)", 0),
            1 => {
                let value = random.below(1000) as u32;
                self.does(&format!("(call $set (i32.const {value}))"));
                self.looks("(call $get)", value);
            }
            2 if self.calling => {
                // It gives up at once.
                self.looks("(call $subtask-cancel (global.get $call))", 4);
                self.does("(call $subtask-drop (global.get $call))");
                self.calling = false;
            }
            2 => {
                self.does("(global.set $call (call $later (i64.const 3600000000000)))");
                self.calling = true;
            }
            _ => self.channel(random, breaks)?,
        }
        Ok(())
    }

    /// Something with a stream or a future.
    fn channel(&mut self, random: &mut Random, breaks: bool) -> Result<(), Broken> {
        let at = random.below(CHANNELS as u64) as usize;
        let (side, verb, end, letter) = match random.below(2) {
            0 => (Side::Readable, "read", "readable", 'r'),
            _ => (Side::Writable, "write", "writable", 'w'),
        };
        let sort = if at < FUTURES { 's' } else { 'f' };
        let (handle, set) = (format!("(global.get ${letter}{at})"), format!("(global.get ${letter}s{at})"));
        let Some(channel) = &mut self.channels[at] else {
            self.channels[at] = Some(Channel::new(at >= FUTURES));
            self.does(&format!(
                "(local.set $ends (call ${sort}-new))
                (global.set $r{at} (call $readable (local.get $ends)))
                (global.set $w{at} (call $writable (local.get $ends)))
                (call $join (global.get $r{at}) (global.get $rs{at}))
                (call $join (global.get $w{at}) (global.get $ws{at}))"
            ));
            return Ok(());
        };
        match random.below(8) {
            0..4 if breaks || channel.may_copy(side) => {
                let len = if channel.future { 4 } else { random.below(7) as u32 };
                if self.wasmtimes && len == 0 && channel.has_event(side.other()) {
                    return Ok(());
                }
                let ptr = match side {
                    Side::Readable if channel.future => READ + at as u32 * PLACE,
                    Side::Readable => READ + at as u32 * PLACE + random.below(u64::from(PLACE - 8)) as u32,
                    Side::Writable => WRITTEN + 4 * random.below(u64::from(PATTERN / 4 - 2)) as u32,
                };
                let count = if channel.future { String::new() } else { format!(" (i32.const {len})") };
                let code = format!("(call ${sort}-{verb} {handle} (i32.const {ptr}){count})");
                let copied = channel.copy(&mut self.memory, side, ptr, len);
                self.ends_with(&code, copied)
            }
            4 if (breaks || channel.may_cancel(side)) && !(self.wasmtimes && channel.has_event(side)) => {
                let cancelled = channel.cancel(side);
                // Nobody may wait for what is in a set otherwise.
                self.does(&format!("(call $join {handle} (i32.const 0))"));
                self.ends_with(&format!("(call ${sort}-cancel-{verb} {handle})"), cancelled)?;
                self.does(&format!("(call $join {handle} {set})"));
                Ok(())
            }
            5 if (breaks || channel.may_drop(side)) && !(self.wasmtimes && channel.has_event(side.other())) => {
                let dropped = channel.drop_end(side);
                if !channel.has(Side::Readable) && !channel.has(Side::Writable) {
                    self.channels[at] = None;
                }
                self.does(&format!("(call ${sort}-drop-{end} {handle}) (global.set ${letter}{at} (i32.const 0))"));
                dropped
            }
            6.. if !self.wasmtimes || channel.may_cancel(side) => {
                let event = if channel.has(side) { channel.take_event(side) } else { None };
                self.looks(&format!("(call $set-poll {set} (i32.const 256))"), event.map_or(0, |(code, _)| code));
                self.looks("(i32.load (i32.const 260))", event.map_or(0, |(_, payload)| payload));
                let told = format!("(i32.eq (i32.load (i32.const 256)) {handle})");
                if event.is_some() {
                    self.looks(&told, 1);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn ends_with(&mut self, code: &str, outcome: Result<u32, Broken>) -> Result<(), Broken> {
        match outcome {
            Ok(value) => self.looks(code, value),
            Err(Broken) => {
                self.does(&format!("(drop {code})"));
                return Err(Broken);
            }
        }
        Ok(())
    }
}

/// A program, which one in four times breaks a rule at its end, if it finds one.
fn program(random: &mut Random, wasmtimes: bool) -> Program {
    let pattern: Vec<u8> = (0..PATTERN).map(|_| random.below(256) as u8).collect();
    let mut memory = vec![0; 0x10000];
    memory[WRITTEN as usize..(WRITTEN + PATTERN) as usize].copy_from_slice(&pattern);
    let mut making = Making {
        text: String::new(),
        looks: Vec::new(),
        memory,
        channels: std::array::from_fn(|_| None),
        calling: false,
        wasmtimes,
    };
    let (steps, breaks) = (10 + random.below(90), random.below(4) == 0);
    let mut broken = false;
    for at in 0..steps + 20 {
        if at >= steps && !breaks {
            break;
        }
        if at >= steps {
            // A trap does not hide what was wrong before it.
            making.does(&format!(
                "(if (i32.ne (global.get $wrong) (i32.const {RIGHT})) (then
                    (call $return (global.get $wrong)) (return (i32.const 0))))"
            ));
        }
        if making.step(random, at >= steps) == Err(Broken) {
            broken = true;
            break;
        }
    }
    // What was read.
    for ptr in (READ..READ + CHANNELS as u32 * PLACE).step_by(4) {
        let at = ptr as usize;
        let word = [0, 1, 2, 3].map(|byte| making.memory[at + byte]);
        making.looks(&format!("(i32.load (i32.const {ptr}))"), u32::from_le_bytes(word));
    }
    let bytes: String = pattern.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let globals: String = (0..CHANNELS)
        .flat_map(|at| ["r", "w", "rs", "ws"].map(|name| format!("(global ${name}{at} (mut i32) (i32.const 0))\n")))
        .collect();
    let sets: String = (0..CHANNELS)
        .flat_map(|at| ["rs", "ws"].map(|name| format!("(global.set ${name}{at} (call $set-new))\n")))
        .collect();
    let text = format!(
        r#"(data (i32.const {WRITTEN}) "{bytes}")
        {globals}
        (global $call (mut i32) (i32.const 0))
        (global $wrong (mut i32) (i32.const {RIGHT}))
        ;; Keeps which was the first that is not what it has to be, and the low half of what it is.
        (func $look (param $number i32) (param $expected i32) (param $is i32)
            (if (i32.and (i32.ne (local.get $is) (local.get $expected))
                    (i32.eq (global.get $wrong) (i32.const {RIGHT})))
                (then (global.set $wrong
                    (i32.or (i32.shl (local.get $number) (i32.const 16)) (i32.and (local.get $is) (i32.const 0xffff)))))))
        (func (export "f") (result i32)
            (local $ends i64)
            {sets}
            {}
            (call $return (global.get $wrong))
            (i32.const 0))"#,
        making.text
    );
    Program { text, looks: making.looks, breaks: broken }
}

fn programs(context: &Context) -> CaseResult {
    let (count, seed) = (number(PROGRAMS, 12)?, seed()?);
    let wasmtimes = context.subject().component_host().is_some();
    for at in 0..count {
        let program = program(&mut Random(seed ^ (at << 20)), wasmtimes);
        let what = || format!("{SEED}={seed}, program {at}");
        let ended = call_once(context, &program.text)?.map_err(|stop| match stop {
            Stop::Error(error) if error.kind() == Kind::Trap => (true, chain(&error).to_string()),
            Stop::Error(error) => (false, chain(&error).to_string()),
            Stop::Exit(code) => (false, format!("exit {code}")),
        });
        match ended {
            Ok(returned) if !program.breaks || returned != [u64::from(RIGHT)] => {
                let wrong = returned.first().copied().unwrap_or_default();
                let look = program.looks.get((wrong >> 16) as usize).filter(|_| wrong != u64::from(RIGHT));
                if let Some((code, expected)) = look {
                    let (seen, text) = (wrong & 0xffff, &program.text);
                    check!(false, "{}: {code} should be {expected:#x}, and ends in {seen:#x}, in {text}", what());
                }
                check_eq!(wrong, u64::from(RIGHT), "{}: what is wrong", what());
            }
            Err((true, _)) if program.breaks => {}
            ended => {
                let should = if program.breaks { "trap" } else { "return" };
                check!(false, "{} should {should}, and came to {ended:?}, {}", what(), program.text);
            }
        }
    }
    Ok(())
}
