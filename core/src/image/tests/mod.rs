mod renewed;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use wasmparser::{DataKind, Parser, Payload, Validator};

use super::memories::Memory;
use super::*;
use crate::limits::LoadOptions;
use crate::meter::{Frames, rewrite};
use crate::types::{ADMITTED, Caller, Trap, TrapCode};

fn prepared(wat: &str) -> Prepared {
    Prepared::new(&wat::parse_str(wat).unwrap(), &LoadOptions::default()).unwrap()
}

/// A data segment of `len` bytes, as text.
fn data(place: &str, byte: u8, len: usize) -> String {
    format!("(data {place} \"{}\")", format!("\\{byte:02x}").repeat(len))
}

/// What [`strip`] leaves: of each segment, whether it is active, and how many bytes it has; and the data count.
fn left(prepared: &Prepared) -> (Vec<(bool, usize)>, Option<u32>) {
    let stripped = strip(prepared).unwrap();
    Validator::new_with_features(ADMITTED).validate_all(&stripped).unwrap();
    let (mut segments, mut count) = (Vec::new(), None);
    for payload in Parser::new(0).parse_all(&stripped) {
        match payload.unwrap() {
            Payload::DataSection(section) => segments.extend(section.into_iter().map(|data| {
                let data = data.unwrap();
                (matches!(data.kind, DataKind::Active { .. }), data.data.len())
            })),
            Payload::DataCountSection { count: segments, .. } => count = Some(segments),
            _ => {}
        }
    }
    (segments, count)
}

/// What [`Imaged`] does with the data of each memory that is exported, and how many bytes are mapped.
fn laid_out(prepared: &Prepared) -> (Vec<Memory>, usize) {
    Plan::of(prepared.wasm()).unwrap().lay_out(prepared.bytes())
}

const KIB: usize = 1 << 10;

#[test]
fn segments_keep_their_indices_if_they_are_named() {
    let many = [data("(i32.const 0)", 1, 64 * KIB), data("$p", 2, 3), data("(i32.const 7)", 3, 0)].concat();
    let module = |body: &str| prepared(&format!("(module (memory (export \"m\") 2) {many} (func {body}))"));
    let named = "(memory.init $p (i32.const 0) (i32.const 0) (i32.const 3))";
    assert_eq!(left(&module(named)), (vec![(false, 0), (false, 3), (false, 0)], Some(3)));
    assert_eq!(left(&module("(data.drop 2)")), (vec![(false, 0), (false, 3), (false, 0)], Some(3)));
    // The text format counts segments only where they are named.
    assert_eq!(left(&module("")), (vec![], None));
}

#[test]
fn all_stays_if_one_does_not_fit_and_so_does_what_is_not_exported() {
    let big = data("(i32.const 0)", 1, 64 * KIB);
    for beyond in [data("(i32.const 131072)", 1, 1), data("(i32.const 131073)", 1, 0), data("(i32.const -1)", 1, 1)] {
        let prepared = prepared(&format!("(module (memory (export \"m\") 2) {big} {beyond})"));
        assert_eq!(strip(&prepared).unwrap(), prepared.wasm(), "{beyond:.30}");
        assert!(laid_out(&prepared).0.is_empty() && !Plan::of(prepared.wasm()).unwrap().is_complete());
    }
    let hidden = data("(memory 1) (i32.const 3)", 1, 3);
    let two = prepared(&format!("(module (memory (export \"m\") 2) (memory 1) {hidden} {big})"));
    assert_eq!(left(&two), (vec![(true, 3)], None));
    assert!(!Plan::of(two.wasm()).unwrap().is_complete());
    let only = prepared(&format!("(module (memory 2) {big})"));
    assert_eq!(strip(&only).unwrap(), only.wasm());
}

#[test]
fn much_data_is_mapped_and_little_or_scattered_data_copied() {
    let apart = |count: usize, pages: usize, len: usize| {
        let place = |nth: usize| format!("(i32.const {})", nth * pages * 64 * KIB);
        (0..count).map(|nth| data(&place(nth), 1, len)).collect::<String>()
    };
    let cases = [
        (data("(i32.const 0)", 1, 64 * KIB), true),
        (data("(i32.const 0)", 1, 64 * KIB - 1), false),
        (apart(32, 2, 32 * KIB), true),
        (apart(33, 2, 32 * KIB), false),
        (apart(8, 1, 16 * KIB), true),
        (apart(8, 1, 16 * KIB - 1), false),
    ];
    for (number, (fields, mapped)) in cases.into_iter().enumerate() {
        let prepared = prepared(&format!("(module (memory (export \"m\") 99) {fields})"));
        let (memories, _) = laid_out(&prepared);
        assert_eq!(memories[0].mapped.is_empty(), !mapped, "case {number}");
        assert_eq!(left(&prepared), (vec![], None), "case {number}");
    }
}

#[test]
fn a_large_table_is_not_kept() {
    let complete = |elements: u32| {
        let module = prepared(&format!("(module (memory (export \"m\") 1) (table {elements} funcref))"));
        Plan::of(module.wasm()).unwrap().is_complete()
    };
    assert!(complete(65_536) && !complete(65_537));
}

/// A module whose segments overlap, and the memory that it has.
fn overlapping() -> (Prepared, Vec<u8>) {
    let segments = [
        data("(i32.const 131100)", 1, 64 * KIB),
        data("(i32.const 131000)", 2, 200),
        data("(i32.const 458751)", 4, 1),
        data("(i32.const 131101)", 3, 1),
        // At the very end, where there is nothing.
        data("(i32.const 524288)", 5, 0),
    ];
    let mut expected = vec![0; 512 * KIB];
    expected[131_100..131_100 + 64 * KIB].fill(1);
    expected[131_000..131_200].fill(2);
    expected[458_751] = 4;
    expected[131_101] = 3;
    (prepared(&format!("(module (memory (export \"m\") 8) {})", segments.concat())), expected)
}

#[test]
fn runs_are_whole_pages() {
    let (memories, len) = laid_out(&overlapping().0);
    let pages: Vec<_> = memories[0].mapped.iter().map(|run| run.pages.clone()).collect();
    assert_eq!(pages, [65_536..262_144, 393_216..458_752]);
    assert_eq!(len, 4 * 64 * KIB);
}

/// Pages as an engine maps them.
struct Pages(*mut u8, usize);

#[expect(unsafe_code, reason = "as an engine does")]
// SAFETY: nobody else has the pages.
unsafe impl Send for Pages {}

impl Pages {
    #[expect(unsafe_code, reason = "as an engine does")]
    fn new(len: usize) -> Self {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the system chooses the addresses.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, MapFlags::PRIVATE) };
        Pages(start.unwrap().cast(), len)
    }

    #[expect(unsafe_code, reason = "as an engine does")]
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: these are the pages, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

impl Drop for Pages {
    #[expect(unsafe_code, reason = "as an engine does")]
    fn drop(&mut self) {
        // SAFETY: nobody uses the pages from here on.
        unsafe { munmap(self.0.cast(), self.1) }.unwrap();
    }
}

/// An instance with a memory, of which `Pages` but the first bytes are used, and with globals.
struct Live {
    pages: Pages,
    skipped: usize,
    globals: BTreeMap<String, u64>,
    imports: Option<Arc<Imports>>,
}

impl Live {
    fn new(len: usize, skipped: usize) -> Self {
        Live { pages: Pages::new(len + skipped), skipped, globals: BTreeMap::new(), imports: None }
    }
}

impl Caller for Live {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.memory_named("m")
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        let skipped = self.skipped;
        (export == "m").then(|| &mut self.pages.bytes()[skipped..])
    }

    /// Traps, panics, grows, or calls the one import.
    fn call(&mut self, export: &str, slots: &mut [u64]) -> std::result::Result<(), Trap> {
        match export {
            "panic" => panic!("as an engine may that has a fault"),
            "grow" => self.pages = Pages::new(self.pages.1 + 64 * KIB),
            "host" => {
                let imports = self.imports.clone().unwrap();
                imports.call(0, self, slots).map_err(|halt| Trap::new(TrapCode::Host, halt.to_string()))?;
            }
            _ => return Err(Trap::new(TrapCode::Unreachable, "unreachable")),
        }
        Ok(())
    }

    fn global(&mut self, export: &str) -> Option<u64> {
        self.globals.get(export).copied()
    }

    fn set_global(&mut self, export: &str, value: u64) -> bool {
        self.globals.insert(export.to_owned(), value).is_some()
    }
}

impl Instance for Live {}

fn has(live: &mut Live, expected: &[u8]) -> bool {
    live.memory_named("m").unwrap() == expected
}

/// Memories that the engine has filled, as one that maps them does.
fn filled(prepared: &Prepared) -> (Memories, impl Fn() -> Live) {
    let plan = Plan::of(prepared.wasm()).unwrap();
    let (memories, len) = plan.lay_out(prepared.bytes());
    let size = memories[0].size;
    let engine = Memories::with(memories, len, memories::sealed);
    let live = move || {
        let mut live = Live::new(size, 0);
        engine.fill(&mut live).unwrap();
        live
    };
    (Memories::filled(&plan, prepared.bytes()), live)
}

#[cfg(target_os = "linux")]
#[test]
fn only_pages_that_were_written_are_put_back() {
    let (prepared, expected) = overlapping();
    let (memories, live) = filled(&prepared);
    let mut live = live();
    assert_eq!(memories.refill(&mut live), Some(0), "nothing was written");
    let page = rustix::param::page_size();
    let written = [0, 131_050, 131_100 + 64 * KIB, 400_000, 512 * KIB - 1];
    for at in written {
        live.memory().unwrap()[at] ^= 0xff;
    }
    assert_eq!(memories.refill(&mut live), Some(written.len() * page));
    // These stay its own, so that nothing is mapped again when it writes to them.
    assert_eq!(written::pages(live.memory().unwrap(), usize::MAX).unwrap().unwrap().len(), written.len());
    assert!(has(&mut live, &expected));
    live.memory().unwrap().fill(0xdd);
    assert_eq!(memories.refill(&mut live), Some(512 * KIB));
    assert!(has(&mut live, &expected));
}

#[cfg(target_os = "linux")]
#[test]
fn what_has_much_that_it_does_not_need_is_not_kept() {
    let prepared = prepared("(module (memory (export \"m\") 200))");
    let (memories, live) = filled(&prepared);
    let mut live = live();
    let mut refilled = |write: usize| {
        live.memory().unwrap()[..write].fill(1);
        memories.refill(&mut live)
    };
    assert_eq!(refilled(8 << 20), Some(8 << 20));
    assert_eq!(refilled(4 << 20), Some(8 << 20), "it needed half of it");
    assert_eq!(refilled((4 << 20) - 1), Some(8 << 20), "the last page was written in part");
    assert_eq!(refilled((4 << 20) - 4096), None);
    assert_eq!(refilled((8 << 20) + 1), None);
    assert_eq!(refilled(0), None);
    let mut small = Live::new(200 * 64 * KIB, 0);
    small.memory().unwrap()[..1 << 20].fill(1);
    assert_eq!(memories.refill(&mut small), Some(1 << 20));
    assert_eq!(memories.refill(&mut small), Some(1 << 20), "it is not much");
}

/// A page of zeros that were written to it can be the system's own, as if it had only been read: Linux has all such share one
/// when it splits a huge page.
#[cfg(target_os = "linux")]
#[test]
#[expect(unsafe_code, reason = "what the system may do is done")]
fn zeros_that_hide_data_are_found_where_they_share_a_page() {
    let prepared = prepared(&format!("(module (memory (export \"m\") 1) {})", data("(i32.const 4090)", 7, 9)));
    let (memories, live) = filled(&prepared);
    let mut live = live();
    let bytes = live.memory().unwrap();
    let expected = bytes.to_vec();
    // SAFETY: these pages are private and anonymous, and nobody else has them.
    unsafe { rustix::mm::madvise(bytes.as_mut_ptr().cast(), bytes.len(), rustix::mm::Advice::LinuxDontNeed) }.unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0), "reading has the system put its page there");
    assert!(memories.refill(&mut live).is_some());
    assert!(has(&mut live, &expected));
}

/// Who has forked knows which pages it wrote, and its child would be told these.
#[cfg(target_os = "linux")]
#[test]
fn a_forked_process_is_not_told_what_its_parent_wrote() {
    let mut pages = Pages::new(64 * KIB);
    assert_eq!(written::pages(pages.bytes(), 0).unwrap(), Some(Vec::new()));
    let told = crate::process::tests::in_a_child(|| {
        let bytes = pages.bytes();
        bytes[0] = 1;
        let found = written::pages(bytes, usize::MAX);
        found.is_ok_and(|runs| runs.is_some_and(|runs| runs.len() == 1))
    });
    assert!(told, "the child wrote one page");
}

#[cfg(target_os = "linux")]
#[test]
fn pages_are_found_however_many_runs_there_are() {
    let page = rustix::param::page_size();
    let mut pages = Pages::new(1000 * page);
    let bytes = pages.bytes();
    assert!(written::pages(&bytes[1..], usize::MAX).is_err());
    assert_eq!(written::pages(bytes, 0).unwrap(), Some(Vec::new()));
    assert_eq!(bytes[999 * page], 0);
    let read = 999 * page..1000 * page;
    assert_eq!(written::pages(bytes, page).unwrap(), Some(vec![read.clone()]), "it takes room in page tables");
    for nth in 0..500 {
        bytes[2 * nth * page] = 1;
    }
    let mut expected: Vec<_> = (0..499).map(|nth| 2 * nth * page..(2 * nth + 1) * page).collect();
    expected.push(998 * page..read.end);
    assert_eq!(written::pages(bytes, 501 * page).unwrap(), Some(expected));
    assert_eq!(written::pages(bytes, 500 * page).unwrap(), None);
    for nth in 0..500 {
        bytes[(2 * nth + 1) * page] = 0;
    }
    let runs = written::pages(bytes, usize::MAX).unwrap().unwrap();
    assert!(matches!(&*runs, [run] if *run == (0..1000 * page)), "zeros were written: {runs:?}");
}

#[test]
fn contents_are_the_same_however_they_get_there_and_each_has_its_own() {
    let (prepared, expected) = overlapping();
    let no_file = |_: usize, _: &dyn Fn(&mut [u8])| -> io::Result<File> { Err(io::ErrorKind::Unsupported.into()) };
    for memories in [
        Memories::with(laid_out(&prepared).0, laid_out(&prepared).1, memories::sealed),
        Memories::with(laid_out(&prepared).0, laid_out(&prepared).1, no_file),
    ] {
        let mut lives = [0, 0, 1].map(|skipped| Live::new(expected.len(), skipped));
        for live in &mut lives {
            memories.fill(live).unwrap();
            assert!(has(live, &expected));
            live.memory_named("m").unwrap().fill(0xdd);
        }
        assert!(lives[0].memory_named("m").unwrap().iter().all(|byte| *byte == 0xdd), "another was written to since");
        assert_eq!(memories.refill(&mut lives[0]).is_some(), cfg!(target_os = "linux"));
        assert!(!cfg!(target_os = "linux") || has(&mut lives[0], &expected));
        assert_eq!(memories.refill(&mut lives[2]), None, "these are not whole pages");
        for len in [64 * KIB, expected.len() + 64 * KIB] {
            let mut other = Live::new(len, 0);
            assert!(memories.fill(&mut other).is_err());
            assert_eq!(memories.refill(&mut other), None);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_writes_to_the_file_or_hands_it_on() {
    let mut file = memories::sealed(4096, &|bytes| bytes.fill(1)).unwrap();
    assert_eq!(rustix::io::Errno::from_io_error(&file.write_all(b"x").unwrap_err()), Some(rustix::io::Errno::PERM));
    assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
    assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}

/// How many globals a module is made to export, by what says how many there are; the same with the meter, but for two of
/// its own.
fn exported(fields: &str) -> Option<usize> {
    let prepared = prepared(&format!("(module {fields})"));
    let metered = among_exports(&rewrite(prepared.wasm(), Frames::Native).unwrap());
    let exposed = among_exports(&expose(&prepared).unwrap());
    // The two may be those that are too many.
    assert!(exposed.map(|count| count + 2) == metered || exposed > Some(4094), "{exposed:?}, {metered:?}");
    metered
}

fn among_exports(rewritten: &[u8]) -> Option<usize> {
    Validator::new_with_features(ADMITTED).validate_all(rewritten).unwrap();
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(rewritten) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            names.extend(section.into_iter().map(|export| export.unwrap().name.to_owned()));
        }
    }
    let globals = names.iter().filter(|name| name.starts_with("$wharf.global.")).count();
    let says = names.iter().any(|name| name == "$wharf.globals");
    assert!(says || globals == 0, "{names:?}");
    says.then_some(globals)
}

#[test]
fn what_changes_is_exported_unless_it_cannot_be_put_back() {
    // The meter's own two, and those of the module.
    assert_eq!(exported(""), Some(2));
    let all = "(global (mut i32) (i32.const 1)) (global i32 (i32.const 1)) (global (mut i64) (i64.const 1))
        (global (mut f32) (f32.const 1)) (global (mut f64) (f64.const 1)) (global funcref (ref.null func))";
    assert_eq!(exported(all), Some(6));
    assert_eq!(exported(&"(global (mut i32) (i32.const 1))".repeat(4094)), Some(4096));
    assert_eq!(exported(&"(global (mut i32) (i32.const 1))".repeat(4095)), None);
    assert_eq!(exported("(global (mut v128) (v128.const i32x4 0 0 0 0))"), None);
    assert_eq!(exported("(global (mut externref) (ref.null extern))"), None);
    let table = "(table $t 2 funcref) (memory 1) (elem $e func 0) (data $d \"d\") (func) (func";
    let three = "(i32.const 0) (i32.const 0) (i32.const 0)";
    for lasting in [
        "(table.set (i32.const 0) (ref.null func))".to_owned(),
        "(drop (table.grow (ref.null func) (i32.const 1)))".to_owned(),
        "(table.fill (i32.const 0) (ref.null func) (i32.const 1))".to_owned(),
        format!("(table.copy {three})"),
        format!("(table.init $e {three})"),
        "(data.drop $d)".to_owned(),
    ] {
        assert_eq!(exported(&format!("{table} {lasting})")), None, "{lasting}");
    }
    let others =
        format!("(elem.drop $e) (memory.init $d {three}) (memory.fill {three}) (drop (memory.grow (i32.const 1)))");
    assert_eq!(exported(&format!("{table} {others} (drop (table.get (i32.const 0))))")), Some(2));
}
