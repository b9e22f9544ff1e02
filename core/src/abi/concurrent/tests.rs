//! Drives the functions as an adapter would, over a guest that is nothing but memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use wharf_plan::{Builtin, EndFunction, PLAN_VERSION, Passing, Payload, Plan, Type};

use super::task::{Code, Kind, Task};
use super::{ByteStream, Element, Function, FutureIn, FutureOut, Pump, Tables, promise};
use crate::abi::testing::{self, Fake};
use crate::abi::wasi02::Host;
use crate::abi::wasi02::canon::{Cx, Flat, Lift, Lower};
use crate::abi::wasi02::io::{End, Source};
use crate::abi::wasi02::options::Options;
use crate::budget::Budget;
use crate::error::Kind as ErrorKind;
use crate::grants::WasiConfig;
use crate::stop::Stop;

const BYTE: Element = Element { size: 1, align: 1, plain: true, realloc: false, ty: None };
const NUMBER: Element = Element { size: 4, align: 4, plain: true, realloc: false, ty: None };

/// From where the allocator gives.
const HEAP: u32 = 0x8000;

const BLOCKED: u64 = u32::MAX as u64;

struct Guest {
    host: Host,
    fake: Fake,
}

impl Guest {
    fn new() -> Self {
        Guest::within(Budget::unlimited())
    }

    fn within(budget: Budget) -> Self {
        let host = testing::host(&WasiConfig::new(), budget);
        Guest { host, fake: Fake::new(vec![0xa5; 64 << 10], HEAP) }
    }

    fn try_call(&mut self, builtin: Builtin, args: &[u64]) -> Result<u64, Stop> {
        let element = match builtin {
            Builtin::End { of: Passing::Future, .. } => NUMBER,
            _ => BYTE,
        };
        let asynchronous = matches!(builtin, Builtin::End { what: EndFunction::Read | EndFunction::Write, .. });
        let options = Arc::new(Options::default());
        let function =
            Function { builtin, name: builtin.to_string(), options, asynchronous, element, names_memory: true };
        let mut slots = args.to_vec();
        slots.resize(args.len().max(1), 0);
        function.call(&self.host, &mut self.fake, &mut slots)?;
        Ok(slots[0])
    }

    #[track_caller]
    fn call(&mut self, builtin: Builtin, args: &[u64]) -> u64 {
        self.try_call(builtin, args).unwrap()
    }

    #[track_caller]
    fn traps(&mut self, builtin: Builtin, args: &[u64], text: &str) {
        match self.try_call(builtin, args) {
            Err(Stop::Error(error)) => {
                let message = error.to_string();
                assert_eq!(error.kind(), ErrorKind::Trap, "{message}");
                assert!(message.contains(&format!("canon#{builtin}: ")) && message.contains(text), "{message}");
            }
            other => panic!("{builtin}: {other:?}"),
        }
    }

    /// Does something as a host function would.
    fn within_call<T>(&mut self, action: impl FnOnce(&mut Cx<'_>) -> T) -> T {
        let mut out = None;
        self.host
            .call(("test", "test"), &Options::default(), &mut self.fake, &mut [], |cx, _| {
                out = Some(action(cx));
                Ok(())
            })
            .unwrap();
        out.unwrap()
    }

    /// A handle for what the host gives.
    fn give(&mut self, value: impl Lower) -> u64 {
        self.within_call(|cx| {
            let mut slots = [0];
            value.lower(cx, &mut Flat::new(&mut slots)).unwrap();
            slots[0]
        })
    }

    /// What the guest gives by this handle.
    fn take<T: Lift>(&mut self, handle: u64) -> T {
        self.within_call(|cx| T::lift(cx, &mut Flat::new(&mut [handle])).unwrap())
    }

    fn ends(&mut self, of: Passing) -> (u64, u64) {
        let both = self.call(end(of, EndFunction::New), &[]);
        (both & 0xffff_ffff, both >> 32)
    }
}

fn end(of: Passing, what: EndFunction) -> Builtin {
    Builtin::End { of, table: 0, what }
}

fn stream(what: EndFunction) -> Builtin {
    end(Passing::Stream, what)
}

fn future(what: EndFunction) -> Builtin {
    end(Passing::Future, what)
}

/// Bytes that are there once it is said so.
struct Later {
    bytes: &'static [u8],
    there: Arc<AtomicBool>,
}

impl Source for Later {
    fn read(&mut self, max: usize) -> Result<bytes::Bytes, End> {
        let (now, rest) = self.bytes.split_at(max.min(self.bytes.len()));
        self.bytes = rest;
        if now.is_empty() { Err(End::Closed) } else { Ok(bytes::Bytes::from_static(now)) }
    }

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<()> {
        if self.there.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[test]
fn what_the_host_has_is_read_at_once_or_later() {
    let mut guest = Guest::new();
    let there = Arc::new(AtomicBool::new(false));
    let handle = guest.give(ByteStream::new(Box::new(Later { bytes: b"hello", there: there.clone() }), drop));
    let set = guest.call(Builtin::WaitableSetNew, &[]);
    guest.call(Builtin::WaitableJoin, &[handle, set]);
    assert_eq!(guest.call(stream(EndFunction::Read), &[handle, 100, 4]), BLOCKED);
    assert_eq!(guest.call(Builtin::WaitableSetPoll, &[set, 8]), 0);
    there.store(true, Ordering::Relaxed);
    assert_eq!(guest.call(Builtin::WaitableSetWait, &[set, 8]), 2, "a stream was read");
    assert_eq!(guest.fake.memory[8..16], [handle as u8, 0, 0, 0, 0x40, 0, 0, 0]);
    assert_eq!(&guest.fake.memory[100..105], b"hell\xa5");
    assert_eq!(guest.call(stream(EndFunction::Read), &[handle, 100, 0]), 0, "there is more");
    assert_eq!(guest.call(stream(EndFunction::Read), &[handle, 100, 9]), 0x10);
    assert_eq!(guest.call(stream(EndFunction::Read), &[handle, 100, 9]), 1, "the end");
    guest.traps(stream(EndFunction::Read), &[handle, 100, 9], "can only be dropped");
    guest.call(stream(EndFunction::DropReadable), &[handle]);
    guest.call(Builtin::WaitableSetDrop, &[set]);
    assert_eq!(guest.host.open_handles(), 0);
}

#[test]
fn what_the_host_promises_is_read_when_it_is_there() {
    let mut guest = Guest::new();
    let (settle, promise) = promise::<u32>();
    let handle = guest.give(FutureOut::new(move |context| promise.poll(context).map(|value| value.unwrap_or(0))));
    assert_eq!(guest.call(future(EndFunction::Read), &[handle, 100]), BLOCKED);
    guest.traps(future(EndFunction::Read), &[handle, 100], "still under way");
    guest.traps(future(EndFunction::DropReadable), &[handle], "still under way");
    assert_eq!(guest.call(future(EndFunction::CancelRead), &[handle]), 2);
    settle.settle(7);
    assert_eq!(guest.call(future(EndFunction::Read), &[handle, 100]), 0);
    assert_eq!(guest.fake.memory[100..104], [7, 0, 0, 0]);
    guest.call(future(EndFunction::DropReadable), &[handle]);
}

#[test]
fn what_the_guest_promises_reaches_the_host() {
    let mut guest = Guest::new();
    let (readable, writable) = guest.ends(Passing::Future);
    let mut taken: FutureIn<u32> = guest.take(readable);
    assert!(taken.is_stuck());
    guest.fake.memory[40..44].copy_from_slice(&9_u32.to_le_bytes());
    assert_eq!(guest.call(future(EndFunction::Write), &[writable, 40]), 0);
    assert!(!taken.is_stuck());
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(taken.poll(context), Poll::Ready(Some(9)));
    guest.call(future(EndFunction::DropWritable), &[writable]);
    // One that nobody waits for any more.
    let (readable, writable) = guest.ends(Passing::Future);
    drop(guest.take::<FutureIn<u32>>(readable));
    assert_eq!(guest.call(future(EndFunction::Write), &[writable, 40]), 1);
}

#[test]
fn rules_are_named() {
    let mut guest = Guest::new();
    let (readable, writable) = guest.ends(Passing::Stream);
    guest.traps(stream(EndFunction::Read), &[writable, 0, 1], "the writable end of a stream");
    guest.traps(future(EndFunction::Read), &[readable, 0], "not the readable end of a future");
    guest.traps(
        Builtin::End { of: Passing::Stream, table: 1, what: EndFunction::Read },
        &[readable, 0, 1],
        "of another type",
    );
    guest.traps(stream(EndFunction::Read), &[readable, 0xffff, 2], "not within the guest's memory");
    guest.traps(stream(EndFunction::CancelRead), &[readable], "under way");
    guest.traps(Builtin::SubtaskDrop, &[readable], "not `subtask`");
    guest.traps(Builtin::WaitableJoin, &[readable, writable], "not `waitable-set`");
    guest.traps(Builtin::TaskReturn { result: None }, &[], "no asynchronous function");
    guest.traps(Builtin::BackpressureDec, &[], "more often");
    let set = guest.call(Builtin::WaitableSetNew, &[]);
    guest.traps(Builtin::WaitableSetWait, &[set, 8], "would never end");
    guest.call(Builtin::WaitableJoin, &[readable, set]);
    guest.traps(Builtin::WaitableSetDrop, &[set], "1 members");
}

#[test]
fn a_task_returns_once_and_what_it_is_to() {
    let mut guest = Guest::new();
    let declared = Some((Some(3), Arc::new(Options::default())));
    guest.host.begin_task(Task::new(Kind::Slots, declared)).unwrap();
    guest.traps(Builtin::TaskReturn { result: None }, &[], "another type");
    guest.call(Builtin::TaskReturn { result: Some(3) }, &[5]);
    guest.traps(Builtin::TaskReturn { result: Some(3) }, &[6], "returned already");
    assert_eq!(guest.host.end_task(&mut guest.fake).unwrap().0, [5]);
    guest.host.begin_task(Task::new(Kind::Slots, None)).unwrap();
    assert!(guest.host.end_task(&mut guest.fake).is_err(), "it has not returned");
}

#[test]
fn answers_are_taken_apart() {
    assert_eq!(Code::of(0), Some(Code::Exit));
    assert_eq!(Code::of(1), Some(Code::Yield));
    assert_eq!(Code::of(0x52), Some(Code::Wait(5)));
    for packed in [3, 0xf, 0x13, u32::MAX] {
        assert_eq!(Code::of(packed), None, "{packed:#x}");
    }
}

#[test]
fn handles_are_bounded_and_charged() {
    let mut guest = Guest::within(Budget::new(16 << 10));
    let ended = (0..10_000).find_map(|_| guest.try_call(stream(EndFunction::New), &[]).err());
    match ended {
        Some(Stop::Error(error)) => assert_eq!(error.kind(), ErrorKind::Limit, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_waited_for_is_kept_once() {
    let mut guest = Guest::new();
    let (readable, writable) = guest.ends(Passing::Stream);
    let set = guest.call(Builtin::WaitableSetNew, &[]);
    guest.call(Builtin::WaitableJoin, &[readable, set]);
    for _ in 0..100 {
        assert_eq!(guest.call(stream(EndFunction::Read), &[readable, 100, 1]), BLOCKED);
        assert_eq!(guest.call(stream(EndFunction::Write), &[writable, 40, 1]), 0x10);
        assert_eq!(guest.call(Builtin::WaitableSetWait, &[set, 8]), 2);
    }
    assert!(guest.within_call(|cx| cx.state.concurrent.waited.len()) <= 1);
}

#[test]
fn values_that_overlap_are_moved_as_they_were() {
    for (from, to) in [(1000_u64, 1007_u64), (1007, 1000), (1000, 90_000), (1000, 400_000)] {
        let mut guest = Guest::new();
        guest.fake.memory = (0..800_000_u32).map(|at| (at % 251) as u8).collect();
        let mut expected = guest.fake.memory.clone();
        expected.copy_within(from as usize..from as usize + 200_000, to as usize);
        let (readable, writable) = guest.ends(Passing::Stream);
        assert_eq!(guest.call(stream(EndFunction::Write), &[writable, from, 200_000]), BLOCKED);
        assert_eq!(guest.call(stream(EndFunction::Read), &[readable, to, 300_000]), 200_000 << 4);
        assert!(guest.fake.memory == expected, "from {from} to {to}");
    }
}

#[test]
fn what_is_on_its_way_is_bounded() {
    struct Never;
    impl Pump for Never {
        fn poll(&mut self, _: &mut std::task::Context<'_>) -> Poll<()> {
            Poll::Pending
        }

        fn stuck(&self) -> bool {
            true
        }
    }
    let mut guest = Guest::new();
    let begun = guest.within_call(|cx| (0..10_000).find(|_| cx.state.concurrent.pump(Never).is_err()));
    assert_eq!(begun, Some(4096));
}

/// `CanonicalABI.md`, sections on alignment and element size.
#[test]
fn elements_are_as_large_as_the_specification_has_them() {
    let plan = |types: Vec<Type>| {
        let payload = |ty| Payload { instance: 0, ty };
        Plan {
            version: PLAN_VERSION,
            imports: Vec::new(),
            exports: Vec::new(),
            memories: Vec::new(),
            memory_count: 0,
            tables: 0,
            start: false,
            instances: Vec::new(),
            resources: Vec::new(),
            handle_tables: Vec::new(),
            streams: vec![payload(None)],
            futures: (0..types.len() as u32).map(|ty| payload(Some(ty))).collect(),
            types,
            functions: Vec::new(),
            traps: Vec::new(),
            component_imports: Vec::new(),
            adapter: None,
            calls: None,
        }
    };
    let names = |count: usize| (0..count).map(|at| format!("n{at}")).collect::<Vec<_>>();
    let types = vec![
        Type::U8,
        Type::U64,
        Type::String,
        Type::Tuple { types: vec![0, 1, 0] },
        Type::Result { ok: None, err: Some(2) },
        Type::Option { some: 1 },
        Type::Enum { names: names(257) },
        Type::Flags { names: names(9) },
        Type::Record { fields: vec![("a".to_owned(), 0), ("b".to_owned(), 0)] },
        Type::Variant { cases: vec![("a".to_owned(), None), ("b".to_owned(), Some(4))] },
    ];
    let tables = Tables::of(&plan(types));
    let expected = [(1, 1), (8, 8), (8, 4), (24, 8), (12, 4), (16, 8), (2, 2), (2, 2), (2, 1), (16, 4)];
    for (at, size) in expected.into_iter().enumerate() {
        let element = tables.element(Passing::Future, at as u32);
        assert_eq!((element.size, element.align), size, "{at}");
    }
    assert!(tables.element(Passing::Future, 1).plain && !tables.element(Passing::Future, 3).plain);
    assert!(tables.element(Passing::Future, 4).realloc && !tables.element(Passing::Future, 3).realloc);
    assert_eq!(tables.element(Passing::Stream, 0).size, 0);
    // As deep as a stranger likes, each twice as wide: it is a size that fits nowhere, and takes no time.
    let mut deep = vec![Type::U64];
    deep.extend((0..200).map(|inner| Type::Tuple { types: vec![inner, inner] }));
    assert!(Tables::of(&plan(deep)).element(Passing::Future, 200).size > 1 << 31);
}
