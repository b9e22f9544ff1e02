//! `download URL`.

use super::Example;
use crate::case::CaseResult;
use crate::context::Context;
use crate::origin::{Body, Origin, Reply};

/// What is printed of a body of so many letters `x`.
pub(super) fn printed(length: u64) -> String {
    let piece = [b'x'; 64 * 1024];
    let mut checksum = crc32fast::Hasher::new();
    let mut left = length;
    while left > 0 {
        let now = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        checksum.update(&piece[..now]);
        left -= now as u64;
    }
    format!("{length} bytes, CRC-32 {:08x}\n", checksum.finalize())
}

pub(super) fn download(context: &Context, example: &Example) -> CaseResult {
    for length in [0, 1, 100_000, example.traits.download] {
        let origin = Origin::replying(Reply::ok("").body(Body::Filler(length)))?;
        let ended = example.run(context, Some(&origin), &[&origin.url("/")])?;
        example.printed(&ended, &printed(length), &format!("a download of {length} bytes"))?;
    }
    let missing = Origin::replying(Reply::status(404).body(Body::Full("not here".into())))?;
    let ended = example.run(context, Some(&missing), &[&missing.url("/")])?;
    example.failed(&ended, "", ": the origin answered 404", "what is not there")?;
    example.fails_well(context, str::is_empty)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(super::printed(24 << 20), "25165824 bytes, CRC-32 d3adc921\n");
        assert_eq!(super::printed(0), "0 bytes, CRC-32 00000000\n");
    }
}
