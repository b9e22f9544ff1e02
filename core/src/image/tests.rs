use std::fs::File;
use std::io::{self, Write as _};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use wasmparser::{DataKind, Parser, Payload, Validator};

use super::memories::Memory;
use super::*;
use crate::limits::LoadOptions;
use crate::types::{ADMITTED, Caller, Trap};

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

/// What [`Imaged`] does with the data of each memory that is exported.
fn laid_out(prepared: &Prepared) -> (Vec<Memory>, Vec<u8>) {
    Plan::of(prepared.wasm()).unwrap().lay_out()
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
        assert_eq!((memories[0].copied.is_empty(), memories[0].mapped.is_empty()), (mapped, !mapped), "case {number}");
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
    let (memories, bytes) = laid_out(&overlapping().0);
    let pages: Vec<_> = memories[0].mapped.iter().map(|run| run.pages.clone()).collect();
    assert_eq!(pages, [65_536..262_144, 393_216..458_752]);
    assert_eq!(bytes.len(), 4 * 64 * KIB);
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
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, MapFlags::PRIVATE) };
        Pages(start.unwrap().cast(), len)
    }

    #[expect(unsafe_code, reason = "as an engine does")]
    fn bytes(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

impl Drop for Pages {
    #[expect(unsafe_code, reason = "as an engine does")]
    fn drop(&mut self) {
        unsafe { munmap(self.0.cast(), self.1) }.unwrap();
    }
}

/// An instance with a memory, of which `Pages` but the first bytes are used.
struct Live(Pages, usize);

impl Caller for Live {
    fn memory(&mut self) -> Option<&mut [u8]> {
        None
    }

    fn memory_named(&mut self, export: &str) -> Option<&mut [u8]> {
        let skipped = self.1;
        (export == "m").then(|| &mut self.0.bytes()[skipped..])
    }

    fn call(&mut self, export: &str, _: &mut [u64]) -> std::result::Result<(), Trap> {
        Err(Trap::no_function(export))
    }

    fn global(&mut self, _: &str) -> Option<u64> {
        None
    }

    fn set_global(&mut self, _: &str, _: u64) -> bool {
        false
    }
}

impl Instance for Live {}

fn has(live: &mut Live, expected: &[u8]) -> bool {
    live.memory_named("m").unwrap() == expected
}

#[test]
fn contents_are_the_same_however_they_get_there_and_each_has_its_own() {
    let (prepared, expected) = overlapping();
    let files: [fn(&[u8]) -> io::Result<File>; 2] = [memories::sealed, |_| Err(io::ErrorKind::Unsupported.into())];
    for file in files {
        let (planned, bytes) = laid_out(&prepared);
        let memories = Memories::with(planned, &bytes, file);
        let mut lives = [0, 0, 1].map(|skipped| Live(Pages::new(expected.len() + skipped), skipped));
        for live in &mut lives {
            memories.map(live).unwrap();
            memories.copy(live).unwrap();
            assert!(has(live, &expected));
            live.memory_named("m").unwrap().fill(0xdd);
        }
        assert!(lives[0].memory_named("m").unwrap().iter().all(|byte| *byte == 0xdd), "another was written to since");
        assert_eq!(memories.discard(&mut lives[0]), cfg!(target_os = "linux"));
        assert!(!memories.discard(&mut lives[2]), "these are not whole pages");
        #[cfg(target_os = "linux")]
        {
            memories.copy(&mut lives[0]).unwrap();
            assert!(has(&mut lives[0], &expected));
        }
        let mut grown = Live(Pages::new(expected.len() + 64 * KIB), 0);
        assert!(!memories.discard(&mut grown));
        let mut small = Live(Pages::new(64 * KIB), 0);
        assert!(memories.map(&mut small).and_then(|()| memories.copy(&mut small)).is_err());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_writes_to_the_file_or_hands_it_on() {
    let mut file = memories::sealed(&[1; 4096]).unwrap();
    assert_eq!(rustix::io::Errno::from_io_error(&file.write_all(b"x").unwrap_err()), Some(rustix::io::Errno::PERM));
    assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
    assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}
