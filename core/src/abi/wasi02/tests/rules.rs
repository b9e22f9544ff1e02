//! What the canonical ABI checks: alignment, bounds, encodings, cases, handles, the allocator.

use super::*;
use crate::abi::wasi02::canon::{Cx, lift};
use crate::abi::wasi02::options::Encoding;
use crate::types::TrapCode;

const NEW: &str = "wasi:http/types#[constructor]fields";
const HAS: &str = "wasi:http/types#[method]fields.has";
const SET: &str = "wasi:http/types#[method]fields.set";
const ENTRIES: &str = "wasi:http/types#[method]fields.entries";
const ENVIRONMENT: &str = "wasi:cli/environment#get-environment";
const ARGUMENTS: &str = "wasi:cli/environment#get-arguments";

fn with_argument(argument: &str) -> Guest {
    Guest::new(&WasiConfig::new().arg(argument).unwrap())
}

#[test]
fn a_result_is_written_where_it_belongs_and_nothing_beside_it() {
    let mut guest = Guest::new(&WasiConfig::new().env("A", "é").unwrap());
    guest.call(ENVIRONMENT, &[RET.into()]);
    assert_eq!(guest.fake.asked, [(4, 16), (1, 1), (1, 2)]);
    let list = guest.u32(RET);
    assert_eq!(guest.u32(RET + 4), 1);
    assert_eq!(guest.string(list), b"A");
    assert_eq!(guest.string(list + 8), "é".as_bytes());
    let heap = HEAP..guest.fake.next;
    for (at, byte) in (0u32..).zip(&guest.fake.memory) {
        assert!(*byte == CANARY || (RET..RET + 8).contains(&at) || heap.contains(&at), "{at:#x} was written");
    }
}

#[test]
fn the_pointer_for_a_result_is_aligned_and_in_bounds() {
    let mut guest = with_argument("a");
    for bad in [1, 2, 3, RET as u64 + 1] {
        guest.traps(ARGUMENTS, &[bad], "not aligned to 4");
    }
    for bad in [MEMORY as u64 - 4, MEMORY as u64, 0x7fff_fffc, 0xffff_fffc] {
        guest.traps(ARGUMENTS, &[bad], "not within the guest's memory");
    }
    assert!(guest.fake.memory.iter().all(|byte| *byte == CANARY));
    guest.call(ARGUMENTS, &[MEMORY as u64 - 8]);
}

#[test]
fn what_the_allocator_answers_is_checked() {
    let mut guest = with_argument("abc");
    guest.fake.wrong = Some(HEAP + 2);
    guest.traps(ARGUMENTS, &[RET.into()], "not aligned to 4");
    for bad in [MEMORY as u32 - 4, 0xffff_fffc] {
        guest.fake.wrong = Some(bad);
        guest.traps(ARGUMENTS, &[RET.into()], "not within the guest's memory");
    }
}

/// A guest that is stopped while its allocator runs was stopped, and has not trapped.
#[test]
fn an_allocator_that_ends_is_told_from_one_that_is_stopped() {
    for (code, cancelled, kind) in [
        (TrapCode::Interrupted, true, Kind::Cancelled),
        (TrapCode::Interrupted, false, Kind::Trap),
        (TrapCode::Unreachable, true, Kind::Trap),
        (TrapCode::Unreachable, false, Kind::Trap),
    ] {
        let mut guest = with_argument("abc");
        guest.fake.ends = Some(code);
        if cancelled {
            guest.host.lock().run.cancel_token().cancel();
        }
        match guest.try_call(ARGUMENTS, &[RET.into()]) {
            Err(Stop::Error(error)) => assert_eq!(error.kind(), kind, "{code:?}, {cancelled}: {error}"),
            other => panic!("{code:?}, {cancelled}: {other:?}"),
        }
    }
}

#[test]
fn an_empty_list_is_allocated_too() {
    let mut guest = Guest::new(&WasiConfig::new());
    guest.call(ARGUMENTS, &[RET.into()]);
    assert_eq!(guest.fake.asked, [(4, 0)]);
    assert_eq!(guest.u32(RET + 4), 0);
}

#[test]
fn strings_are_checked_for_bounds_and_for_utf_8() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call(NEW, &[]);
    for [ptr, len] in [[MEMORY as u64, 1], [MEMORY as u64 - 1, 2], [0xffff_ffff, 2], [1, 0xffff_ffff]] {
        guest.traps(HAS, &[fields, ptr, len], "not within the guest's memory");
    }
    let [ptr, len] = guest.bytes(&[b'a', 0xff]);
    guest.traps(HAS, &[fields, ptr, len], "not UTF-8");
    // Nothing at the very end is in bounds; the name is invalid, which breaks no rule of the ABI.
    assert_eq!(guest.call(HAS, &[fields, MEMORY as u64, 0]), 0);
}

#[test]
fn lists_are_checked_for_alignment_and_bounds() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call(NEW, &[]);
    let [name, len] = guest.bytes(b"a");
    guest.traps(SET, &[fields, name, len, 2, 1, RET.into()], "not aligned to 4");
    for [ptr, count] in [[MEMORY as u64 - 8, 2], [0, 0x2000_0001], [0xffff_fff8, 1]] {
        guest.traps(SET, &[fields, name, len, ptr, count, RET.into()], "not within the guest's memory");
    }
    let [inner, _] = guest.bytes(&[0xff; 8]);
    guest.traps(SET, &[fields, name, len, inner, 1, RET.into()], "not within the guest's memory");
}

#[test]
fn other_encodings() {
    for (encoding, text, bytes, count) in [
        (Encoding::Utf16, "aé€", vec![b'a', 0, 0xe9, 0, 0xac, 0x20], 3),
        (Encoding::CompactUtf16, "aé", vec![b'a', 0xe9], 2),
        (Encoding::CompactUtf16, "a€", vec![b'a', 0, 0xac, 0x20], 0x8000_0002),
    ] {
        let mut guest = with_argument(text);
        guest.options.encoding = encoding;
        guest.call(ARGUMENTS, &[RET.into()]);
        let list = guest.u32(RET);
        assert_eq!(guest.u32(list + 4), count, "{text}");
        assert_eq!(guest.get(guest.u32(list), bytes.len() as u32), bytes, "{text}");
    }
    let mut guest = Guest::new(&WasiConfig::new());
    guest.options.encoding = Encoding::Utf16;
    let fields = guest.call(NEW, &[]);
    let [ptr, _] = guest.bytes(&[0x00, 0xd8, b'a', 0]);
    guest.traps(HAS, &[fields, ptr, 2], "not UTF-16");
    guest.traps(HAS, &[fields, ptr + 1, 1], "not aligned to 2");
    guest.traps(HAS, &[fields, 0, 0x8000_0000], "longer than the guest's memory");
    // Half a pair is none of UTF-16, and two characters of Latin-1.
    guest.options.encoding = Encoding::CompactUtf16;
    guest.traps(HAS, &[fields, ptr, 0x8000_0002], "not UTF-16");
    assert_eq!(guest.call(HAS, &[fields, ptr, 2]), 0);
}

#[test]
fn cases_that_there_are_none_of() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call(NEW, &[]);
    let request = guest.call("wasi:http/types#[constructor]outgoing-request", &[fields]);
    guest.traps("wasi:http/types#[method]outgoing-request.set-method", &[request, 10, 0, 0], "`method` has no case 10");
    let set_scheme = "wasi:http/types#[method]outgoing-request.set-scheme";
    guest.traps(set_scheme, &[request, 2, 0, 0, 0], "`option` has no case 2");
    guest.traps(set_scheme, &[request, 1, 3, 0, 0], "`scheme` has no case 3");
    guest.traps("wasi:cli/exit#exit", &[2], "`result` has no case 2");
}

#[test]
fn handles_are_checked() {
    let mut guest = Guest::new(&WasiConfig::new());
    let fields = guest.call(NEW, &[]);
    let stdout = guest.call("wasi:cli/stdout#get-stdout", &[]);
    for bad in [0, 77, 0xffff_ffff] {
        guest.traps(ENTRIES, &[bad, RET.into()], "not an open handle");
        guest.traps("wasi:http/types#[resource-drop]fields", &[bad], "not an open handle");
    }
    guest.traps(ENTRIES, &[stdout, RET.into()], "a resource of type `output-stream`, not `fields`");
    guest.call("wasi:http/types#[resource-drop]fields", &[fields]);
    guest.traps(ENTRIES, &[fields, RET.into()], "not an open handle");
    assert_eq!(guest.host.open_handles(), 1);
}

#[test]
fn bits_above_an_i32_do_not_count() {
    let mut guest = with_argument("abc");
    guest.call(ARGUMENTS, &[0xdead_beef_0000_0000 | u64::from(RET)]);
    let fields = guest.call(NEW, &[]);
    guest.call("wasi:http/types#[resource-drop]fields", &[fields | 0xdead_beef_0000_0000]);
}

#[test]
fn waiting() {
    let mut guest = Guest::new(&WasiConfig::new());
    guest.traps("wasi:io/poll#poll", &[0, 0, RET.into()], "never end");
    let subscribe = "wasi:clocks/monotonic-clock#subscribe-duration";
    let (never, soon, now) =
        (guest.call(subscribe, &[u64::MAX]), guest.call(subscribe, &[1_000_000]), guest.call(subscribe, &[0]));
    let list = |handles: &[u64]| handles.iter().flat_map(|handle| (*handle as u32).to_le_bytes()).collect::<Vec<_>>();
    for (handles, met) in [(vec![never, soon], 1u32), (vec![now, never], 0)] {
        let [ptr, _] = guest.bytes(&list(&handles));
        guest.call("wasi:io/poll#poll", &[ptr, 2, RET.into()]);
        assert_eq!(guest.u32(RET + 4), 1);
        assert_eq!(guest.u32(guest.u32(RET)), met);
    }
    assert_eq!(guest.call("wasi:io/poll#[method]pollable.ready", &[never]), 0);
    assert_eq!(guest.call("wasi:io/poll#[method]pollable.ready", &[now]), 1);
    guest.call("wasi:io/poll#[method]pollable.block", &[now]);
}

/// As often as a guest can have each of its pollables in a list four times.
#[test]
fn the_most_pollables_of_one_poll() {
    let mut guest = Guest::new(&WasiConfig::new());
    guest.fake.memory.resize(0x80000, 0);
    let now = guest.call("wasi:clocks/monotonic-clock#subscribe-duration", &[0]);
    let (list, most) = (0x40000, 4 * 4096);
    guest.put(list, &(now as u32).to_le_bytes().repeat(most + 1));
    guest.call("wasi:io/poll#poll", &[list.into(), most as u64, RET.into()]);
    assert_eq!(guest.u32(RET + 4), most as u32, "all are ready");
    match guest.try_call("wasi:io/poll#poll", &[list.into(), most as u64 + 1, RET.into()]) {
        Err(Stop::Error(error)) => assert_eq!(error.kind(), Kind::Limit, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_outlives_what_waits_for_it() {
    let mut guest = Guest::new(&WasiConfig::new());
    let stdin = guest.call("wasi:cli/stdin#get-stdin", &[]);
    let pollable = guest.call("wasi:io/streams#[method]input-stream.subscribe", &[stdin]);
    assert_eq!(guest.call("wasi:io/poll#[method]pollable.ready", &[pollable]), 1);
    let drop = "wasi:io/streams#[resource-drop]input-stream";
    guest.traps(drop, &[stdin], "1 child");
    guest.call("wasi:io/poll#[resource-drop]pollable", &[pollable]);
    guest.call(drop, &[stdin]);
}

#[track_caller]
fn is_limited(outcome: Result<u64, Stop>, text: &str) {
    match outcome {
        Err(Stop::Error(error)) => {
            assert_eq!(error.kind(), Kind::Limit, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn long_arguments_are_charged_until_the_call_ends() {
    let mut guest = Guest::within(&WasiConfig::new(), Budget::new(64 << 10));
    guest.fake.memory = vec![b'a'; 256 << 10];
    let fields = guest.call(NEW, &[]);
    let before = guest.host.budget().used();
    for kib in [128, 128 + 60] {
        assert_eq!(guest.call(HAS, &[fields, 0, kib << 10]), 0);
        assert_eq!(guest.host.budget().used(), before, "{kib}");
    }
    is_limited(guest.try_call(HAS, &[fields, 0, (128 + 65) << 10]), "");
}

#[test]
fn the_most_that_the_arguments_of_one_call_may_take() {
    let mut guest = Guest::new(&WasiConfig::new());
    guest.fake.memory.resize(0x40000, b'a');
    let fields = guest.call(NEW, &[]);
    let [name, len] = guest.bytes(b"a");
    // Values that lie in the same 64 KiB: 2048 of them are 128 MiB.
    let (list, value) = (0x20000, [0u32.to_le_bytes(), 0x10000u32.to_le_bytes()].concat());
    guest.put(list, &value.repeat(2048));
    is_limited(guest.try_call(SET, &[fields, name, len, list.into(), 2048, RET.into()]), "the arguments of one call");
}

/// Up to 16 core values are passed as such, more in memory (canonical ABI, `MAX_FLAT_PARAMS`).
#[test]
fn parameters_come_in_slots_and_where_those_are_too_many_in_memory() {
    type Nine = (String, String, String, String, String, String, String, String, String);
    let mut guest = Guest::new(&WasiConfig::new());
    let [text, len] = guest.bytes(b"text");
    let pairs: Vec<u8> = [text as u32, len as u32].into_iter().flat_map(u32::to_le_bytes).collect();
    let [at, _] = guest.bytes(&pairs.repeat(9));
    let mut state = guest.host.lock();
    let mut cx = Cx::new(&mut state, &mut guest.fake, &guest.options);
    let lifted: (u32, String, u64) = lift(&mut cx, &mut [7, text, len, 9]).map_err(|_| "slots").unwrap();
    assert_eq!(lifted, (7, "text".to_owned(), 9));
    let lifted: Nine = lift(&mut cx, &mut [at]).map_err(|_| "memory").unwrap();
    assert_eq!((lifted.0.as_str(), lifted.8.as_str()), ("text", "text"));
    assert!(lift::<Nine>(&mut cx, &mut [at + 1]).is_err(), "it is not aligned");
    assert!(lift::<Nine>(&mut cx, &mut [MEMORY as u64 - 64]).is_err(), "it is not within the memory");
}
