//! Strings from one memory to another: what `wasmtime-environ` says of each operation, in its `fact/transcode.rs`.

use super::*;

/// Where the source lies, and where it goes.
const FROM: u32 = 0x101;
const TO: u32 = 0x203;

/// Set in the length of a `latin1+utf16` string that is UTF-16.
const UTF16: u64 = 1 << 31;

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

impl Guest {
    /// Copies `units` units of `source` with the rest of the parameters; gives the results, and what was written.
    fn copy(
        &mut self,
        operation: &str,
        source: &[u8],
        units: usize,
        rest: &[u64],
    ) -> std::result::Result<(Vec<u64>, Vec<u8>), Stop> {
        self.fake.memories.insert("other", vec![0xa5; MEMORY]);
        self.fake.memories.get_mut("memory").unwrap()[FROM as usize..][..source.len()].copy_from_slice(source);
        let params = [&[FROM.into(), units as u64, TO.into()], rest].concat();
        let results = self.call(&format!("transcode-{operation};from=memory;to=other"), &params)?;
        let other = &self.fake.memories["other"];
        assert!(other[..TO as usize].iter().all(|byte| *byte == 0xa5), "before the destination");
        let end = other.iter().rposition(|byte| *byte != 0xa5).map_or(TO as usize, |at| at + 1);
        Ok((results, other[TO as usize..end].to_vec()))
    }

    #[track_caller]
    fn copies(&mut self, operation: &str, source: &[u8], units: usize, rest: &[u64], results: &[u64], out: &[u8]) {
        let copied = self.copy(operation, source, units, rest).unwrap();
        assert_eq!(copied, (results.to_vec(), out.to_vec()), "{operation}");
    }
}

#[test]
fn from_an_encoding_to_the_same() {
    let mut guest = guest();
    let text = "aé€😀";
    guest.copies("utf8-to-utf8", text.as_bytes(), text.len(), &[], &[], text.as_bytes());
    guest.copies("utf16-to-utf16", &utf16(text), 5, &[], &[], &utf16(text));
    guest.copies("latin1-to-latin1", b"a\xe9", 2, &[], &[], b"a\xe9");
}

#[test]
fn to_utf_16() {
    let mut guest = guest();
    guest.copies("latin1-to-utf16", b"a\xe9", 2, &[], &[], &utf16("aé"));
    guest.copies("utf8-to-utf16", "aé😀".as_bytes(), 7, &[], &[4], &utf16("aé😀"));
}

#[test]
fn to_utf_8_as_far_as_there_is_room() {
    let mut guest = guest();
    let text = "ab€é";
    // Units read and bytes written. A first pass stops at what is not ASCII.
    for (room, first, read, out) in
        [(100, 0, 4, "ab€é"), (100, 1, 2, "ab"), (4, 0, 2, "ab"), (5, 0, 3, "ab€"), (1, 0, 1, "a"), (0, 0, 0, "")]
    {
        let results = [read, out.len() as u64];
        guest.copies("utf16-to-utf8", &utf16(text), 4, &[room, first], &results, out.as_bytes());
    }
    guest.copies("utf16-to-utf8", &utf16("😀"), 2, &[4, 0], &[2, 4], "😀".as_bytes());
    for (room, first, read, out) in [(100, 0, 3, "aéb"), (100, 1, 1, "a"), (2, 0, 1, "a"), (3, 0, 2, "aé")] {
        let results = [read, out.len() as u64];
        guest.copies("latin1-to-utf8", b"a\xe9b", 3, &[room, first], &results, out.as_bytes());
    }
}

#[test]
fn to_latin_1_as_far_as_it_goes() {
    let mut guest = guest();
    guest.copies("utf8-to-latin1", "aé€b".as_bytes(), 7, &[], &[3, 2], b"a\xe9");
    guest.copies("utf8-to-latin1", "aÿ".as_bytes(), 3, &[], &[3, 2], b"a\xff");
    guest.copies("utf8-to-latin1", "Ā".as_bytes(), 2, &[], &[0, 0], b"");
    guest.copies("utf16-to-latin1", &utf16("aÿĀb"), 4, &[], &[2, 2], b"a\xff");
}

#[test]
fn to_whichever_of_latin_1_and_utf_16_fits() {
    let mut guest = guest();
    guest.copies("utf16-to-compact-probably-utf16", &utf16("aÿ"), 2, &[], &[2], b"a\xff");
    guest.copies("utf16-to-compact-probably-utf16", &utf16("aĀ"), 2, &[], &[2 | UTF16], &utf16("aĀ"));
}

#[test]
fn what_began_as_latin_1_goes_on_as_utf_16() {
    for (operation, rest, units) in
        [("utf8-to-compact-utf16", "€b".as_bytes().to_vec(), 4), ("utf16-to-compact-utf16", utf16("€b"), 2)]
    {
        for (room, fits) in [(4, true), (3, false)] {
            let mut guest = guest();
            let name = format!("transcode-{operation};from=memory;to=other");
            guest.fake.memories.get_mut("memory").unwrap()[FROM as usize..][..rest.len()].copy_from_slice(&rest);
            guest.fake.memories.get_mut("other").unwrap()[TO as usize..][..2].copy_from_slice(b"a\xe9");
            let params = [FROM.into(), units, TO.into(), room, 2];
            if fits {
                assert_eq!(guest.gives(&name, &params), 4, "{operation}");
                assert_eq!(guest.fake.memories["other"][TO as usize..][..8], utf16("aé€b"), "{operation}");
            } else {
                guest.traps(&name, &params, "not within its memory");
            }
        }
    }
}

#[test]
fn text_that_is_none() {
    let mut guest = guest();
    for operation in ["utf8-to-utf8", "utf8-to-utf16", "utf8-to-latin1"] {
        ends(guest.copy(operation, b"a\xff", 2, &[]), Kind::Trap, "not UTF-8");
    }
    for (operation, rest) in [("utf16-to-utf16", &[][..]), ("utf16-to-utf8", &[9, 0])] {
        ends(guest.copy(operation, &[0, 0xd8], 1, rest), Kind::Trap, "not UTF-16");
    }
}

#[test]
fn both_ends_are_checked() {
    let mut guest = guest();
    let end = MEMORY as u64;
    for (operation, [from, units, to], fits) in [
        ("latin1-to-latin1", [end - 1, 1, end - 1], true),
        ("latin1-to-latin1", [end, 0, end], true),
        ("latin1-to-latin1", [end, 1, 0], false),
        ("latin1-to-latin1", [end - 1, 2, 0], false),
        ("latin1-to-latin1", [0, 1, end], false),
        ("latin1-to-latin1", [0, 2, end - 1], false),
        ("latin1-to-latin1", [0xffff_ffff, 2, 0], false),
        ("utf16-to-utf16", [end - 2, 1, end - 2], true),
        ("utf16-to-utf16", [end - 2, 2, 0], false),
        ("utf16-to-utf16", [0, 0x8000_0000, 0], false),
        ("latin1-to-utf16", [0, 2, end - 3], false),
        ("latin1-to-utf16", [0, 2, end - 4], true),
    ] {
        let name = format!("transcode-{operation};from=memory;to=other");
        let outcome = guest.call(&name, &[from, units, to]);
        if fits {
            assert!(outcome.unwrap().is_empty(), "{operation} {from:#x} {units} {to:#x}");
        } else {
            ends(outcome, Kind::Trap, "not within its memory");
        }
    }
    let none = guest.call("transcode-utf8-to-utf8;from=none;to=other", &[0, 0, 0]);
    ends(none, Kind::Trap, "exports no memory");
}

#[test]
fn a_long_string_is_charged_while_it_is_copied() {
    let mut guest = guest_within(Budget::new(6 * (64 << 10)));
    guest.fake.memories.insert("memory", vec![b'a'; 128 << 10]);
    guest.fake.memories.insert("other", vec![0; 256 << 10]);
    let copy = |guest: &mut Guest, operation: &str, units, rest: &[u64]| {
        guest.call(&format!("transcode-{operation};from=memory;to=other"), &[&[0, units, 0], rest].concat())
    };
    let short = 64 << 10;
    assert!(copy(&mut guest, "utf8-to-utf8", short, &[]).is_ok());
    ends(copy(&mut guest, "utf8-to-utf8", short + 1, &[]), Kind::Limit, "");
    assert!(copy(&mut guest, "utf16-to-utf16", short / 2, &[]).is_ok());
    ends(copy(&mut guest, "utf16-to-utf16", short / 2 + 1, &[]), Kind::Limit, "");
    let (room, done) = (short, 10);
    assert!(copy(&mut guest, "utf8-to-compact-utf16", short - done, &[room, done]).is_ok());
    ends(copy(&mut guest, "utf8-to-compact-utf16", short - done + 1, &[room, done]), Kind::Limit, "");
    assert_eq!(guest.host.budget().used(), 0);
    let mut rich = guest_within(Budget::new(6 * ((64 << 10) + 1)));
    rich.fake.memories.insert("memory", vec![b'a'; 128 << 10]);
    rich.fake.memories.insert("other", vec![0; 128 << 10]);
    assert!(copy(&mut rich, "utf8-to-utf8", short + 1, &[]).is_ok(), "six times what it takes");
}

/// As by an allocator that is not one: it is called while the host works for the guest.
#[test]
fn a_string_is_copied_within_another_call() {
    let guest = guest();
    let host = guest.host.clone();
    let _within = host.lock();
    let copied = std::thread::spawn(move || {
        let mut guest = guest;
        guest.copy("utf8-to-utf8", b"text", 4, &[]).map(|(_, copied)| copied).map_err(|_| ())
    });
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !copied.is_finished() && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    assert!(copied.is_finished(), "it waits for the call that it is within");
    assert_eq!(copied.join().unwrap(), Ok(b"text".to_vec()));
}
