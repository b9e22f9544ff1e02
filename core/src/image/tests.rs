use std::io::Write as _;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use wasmparser::{DataKind, Parser, Payload, Validator};

use super::*;
use crate::growth::PAGE;
use crate::limits::LoadOptions;
use crate::types::ADMITTED;

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

/// The bytes of the only memory that gets any, from the first page that does.
fn image(prepared: &Prepared) -> (usize, Vec<u8>) {
    let (memories, bytes) = Plan::of(prepared.wasm()).unwrap().lay_out();
    let [memory] = &memories[..] else { panic!("{} memories", memories.len()) };
    (memory.runs[0].pages.start, bytes)
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
fn what_is_not_worth_it_stays() {
    let big = data("(i32.const 0)", 1, 64 * KIB);
    let stays = [
        ("no data", "(memory (export \"m\") 2)".to_owned()),
        ("little", format!("(memory (export \"m\") 2) {}", data("(i32.const 0)", 1, 64 * KIB - 1))),
        ("not exported", format!("(memory 2) {big}")),
        ("one does not fit", format!("(memory (export \"m\") 2) {big} {}", data("(i32.const 131072)", 1, 1))),
        ("not even one of no bytes", format!("(memory (export \"m\") 2) {big} {}", data("(i32.const 131073)", 1, 0))),
        (
            "nor one in another memory",
            format!("(memory (export \"m\") 2) (memory 0) {big} {}", data("(memory 1) (i32.const 0)", 1, 1)),
        ),
        ("spread", {
            let apart = (0..5).map(|page| data(&format!("(i32.const {})", page * 65_536), 1, 15 * KIB));
            format!("(memory (export \"m\") 9) {}", apart.collect::<String>())
        }),
        ("too many runs", {
            let apart = (0..33).map(|page| data(&format!("(i32.const {})", page * 131_072), 1, 32 * KIB));
            format!("(memory (export \"m\") 99) {}", apart.collect::<String>())
        }),
    ];
    for (why, fields) in stays {
        let prepared = prepared(&format!("(module {fields})"));
        assert!(Plan::of(prepared.wasm()).unwrap().lay_out().0.is_empty(), "{why}");
        assert_eq!(strip(&prepared).unwrap(), prepared.wasm(), "{why}");
    }
    let two = data("(memory 1) (i32.const 3)", 1, 3);
    let prepared = prepared(&format!("(module (memory (export \"m\") 2) (memory (export \"n\") 1) {two} {big})"));
    assert_eq!(left(&prepared), (vec![(true, 3)], None), "each memory for itself");
}

#[test]
fn later_segments_win_and_runs_are_whole_pages() {
    let segments = [
        data("(i32.const 131100)", 1, 64 * KIB),
        data("(i32.const 131000)", 2, 200),
        data("(i32.const 458751)", 4, 1),
        data("(i32.const 131101)", 3, 1),
        // At the very end, where there is nothing.
        data("(i32.const 524288)", 5, 0),
    ];
    let prepared = prepared(&format!("(module (memory (export \"m\") 8) {})", segments.concat()));
    let mut expected = vec![0; 524_288];
    expected[131_100..131_100 + 64 * KIB].fill(1);
    expected[131_000..131_200].fill(2);
    expected[458_751] = 4;
    expected[131_101] = 3;
    let (memories, bytes) = Plan::of(prepared.wasm()).unwrap().lay_out();
    let pages: Vec<_> = memories[0].runs.iter().map(|run| run.pages.clone()).collect();
    assert_eq!(pages, [65_536..262_144, 393_216..458_752]);
    for run in &memories[0].runs {
        assert_eq!(bytes[run.at..run.at + run.pages.len()], expected[run.pages.clone()]);
    }
    assert_eq!(image(&prepared).0, 65_536);
}

/// Pages as an engine maps them.
struct Pages(*mut u8, usize);

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

#[test]
#[expect(unsafe_code, reason = "pages are replaced")]
fn contents_are_the_same_however_they_get_there_and_each_has_its_own() {
    let page = PAGE as usize;
    let bytes: Vec<u8> = (0..2 * page).map(|at| (at / 251) as u8).collect();
    let contents = [Contents::of(bytes.clone()), Contents::Bytes(bytes.clone())];
    #[cfg(target_os = "linux")]
    assert!(matches!(contents[0], Contents::File(_)));
    for contents in contents {
        let mut memories = [Pages::new(3 * page), Pages::new(3 * page)];
        for memory in &mut memories {
            memory.bytes().fill(0xee);
            unsafe { contents.put(0, &mut memory.bytes()[page..]) }.unwrap();
            assert!(memory.bytes()[page..] == bytes && memory.bytes()[..page].iter().all(|byte| *byte == 0xee));
            memory.bytes().fill(0xdd);
        }
        // Not where a page begins.
        unsafe { contents.put(page, &mut memories[0].bytes()[1..=page]) }.unwrap();
        assert!(memories[0].bytes()[1..=page] == bytes[page..] && memories[0].bytes()[page + 1] == 0xdd);
        assert!(memories[1].bytes().iter().all(|byte| *byte == 0xdd));
        let mut later = Pages::new(2 * page);
        unsafe { contents.put(0, later.bytes()) }.unwrap();
        assert!(later.bytes() == bytes);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nobody_writes_to_the_file_or_hands_it_on() {
    let Contents::File(mut file) = Contents::of(vec![1; 4096]) else { panic!("there is no file") };
    assert_eq!(rustix::io::Errno::from_io_error(&file.write_all(b"x").unwrap_err()), Some(rustix::io::Errno::PERM));
    assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
    assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}
