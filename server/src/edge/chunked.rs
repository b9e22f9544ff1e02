//! Where a chunked body ends.

/// The place in a chunked body (RFC 9112, section 7.1), whose lines have to end with CR LF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the size of a chunk, of which so many digits were read.
    Size(u64, u8),
    /// In the rest of the line with the size, which the size stands before.
    Extension(u64),
    /// After the CR of that line.
    SizeEnd(u64),
    /// In the data of a chunk, of which so much is left.
    Data(u64),
    /// After the data of a chunk.
    DataEnd,
    /// After the CR that follows the data.
    DataLineEnd,
    /// In the trailer section, in a line that is empty so far or not.
    Trailer(bool),
    /// After the CR of such a line.
    TrailerEnd(bool),
    /// After the empty line that ends the body.
    End,
}

/// How long a trailer section may be, in bytes.
const MAX_TRAILERS: usize = 16 << 10;

/// What was found in a chunked body so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many bytes of data.
    pub(super) data: u64,
    /// The trailer section, its empty line included.
    pub(super) trailers: Vec<u8>,
}

/// The framing of the body is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Chunked {
    pub(super) const START: Chunked = Chunked::Size(0, 0);

    /// Goes on over `bytes`, up to the end of the body; returns how many belong to it, and whether what follows them is
    /// not valid.
    pub(super) fn advance(&mut self, bytes: &[u8], seen: &mut Seen) -> (usize, Result<(), Malformed>) {
        let mut at = 0;
        while at < bytes.len() && *self != Chunked::End {
            if let Chunked::Data(left) = *self {
                let len = left.min((bytes.len() - at) as u64);
                *self = if len == left { Chunked::DataEnd } else { Chunked::Data(left - len) };
                seen.data += len;
                at += len as usize;
                continue;
            }
            if matches!(self, Chunked::Trailer(_) | Chunked::TrailerEnd(_)) {
                seen.trailers.push(bytes[at]);
                if seen.trailers.len() > MAX_TRAILERS {
                    return (at, Err(Malformed));
                }
            }
            match self.step(bytes[at]) {
                Some(next) => *self = next,
                None => return (at, Err(Malformed)),
            }
            at += 1;
        }
        (at, Ok(()))
    }

    fn step(self, byte: u8) -> Option<Chunked> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        match (self, byte) {
            (Chunked::Size(size, digits @ 0..16), _) if digit.is_some() => {
                Some(Chunked::Size(size << 4 | digit?, digits + 1))
            }
            (Chunked::Size(size, 1..), b'\r') | (Chunked::Extension(size), b'\r') => Some(Chunked::SizeEnd(size)),
            (Chunked::Size(size, 1..), b';' | b' ' | b'\t') => Some(Chunked::Extension(size)),
            (Chunked::Extension(size), byte) if byte == b'\t' || !byte.is_ascii_control() => {
                Some(Chunked::Extension(size))
            }
            (Chunked::SizeEnd(0), b'\n') => Some(Chunked::Trailer(true)),
            (Chunked::SizeEnd(size), b'\n') => Some(Chunked::Data(size)),
            (Chunked::DataEnd, b'\r') => Some(Chunked::DataLineEnd),
            (Chunked::DataLineEnd, b'\n') => Some(Chunked::START),
            (Chunked::Trailer(empty), b'\r') => Some(Chunked::TrailerEnd(empty)),
            (Chunked::Trailer(_), byte) if byte != b'\n' => Some(Chunked::Trailer(false)),
            (Chunked::TrailerEnd(true), b'\n') => Some(Chunked::End),
            (Chunked::TrailerEnd(false), b'\n') => Some(Chunked::Trailer(true)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `bytes` is the body, and whether it ended, however it is cut up.
    fn length(bytes: &str) -> (usize, bool, Result<(), Malformed>) {
        let (mut whole, mut all) = (Chunked::START, Seen::default());
        let (len, result) = whole.advance(bytes.as_bytes(), &mut all);
        for step in 1..bytes.len() {
            let (mut pieces, mut total, mut seen) = (Chunked::START, 0, Seen::default());
            for piece in bytes.as_bytes().chunks(step) {
                let (len, result) = pieces.advance(piece, &mut seen);
                total += len;
                if result.is_err() || pieces == Chunked::End {
                    break;
                }
            }
            assert_eq!((pieces, total, &seen), (whole, len, &all), "{bytes:?} in pieces of {step}");
        }
        (len, whole == Chunked::End, result)
    }

    #[test]
    fn bodies_end_after_their_empty_line() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "a;x=\"y\"\r\n0123456789\r\n00\r\na: b\r\nc: d\r\n\r\n",
            "1 ;a\r\n\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(length(&format!("{body}GET / HTTP/1.1")), (body.len(), true, Ok(())), "{body:?}");
        }
    }

    #[test]
    fn lines_end_with_cr_lf_and_sizes_are_sizes() {
        for (body, valid) in [
            ("3\nabc\r\n0\r\n\r\n", 1),
            ("3\r\nabc\n0\r\n\r\n", 6),
            ("3\r\nabcd", 6),
            ("0\r\n\n", 3),
            ("0\r\na: b\n\r\n", 7),
            ("0\r\na: b\rc\r\n\r\n", 8),
            ("3;a\nabc", 3),
            ("\r\n", 0),
            ("x\r\n", 0),
            (" 3\r\n", 0),
            ("+3\r\n", 0),
            ("0x3\r\n", 1),
            ("11111111111111111\r\n", 16),
        ] {
            assert_eq!(length(body), (valid, false, Err(Malformed)), "{body:?}");
        }
    }
}
