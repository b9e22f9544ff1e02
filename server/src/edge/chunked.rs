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
    /// In the trailer section, in a line that is empty so far or not, behind others or not.
    Trailer { empty: bool, behind: bool },
    /// After the CR of such a line.
    TrailerEnd { empty: bool, behind: bool },
    /// After the empty line that ends the body, which had trailers or not.
    End(bool),
}

/// The framing of the body is not valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Chunked {
    pub(super) const START: Chunked = Chunked::Size(0, 0);

    /// Whether the body has ended.
    pub(super) fn ended(self) -> bool {
        matches!(self, Chunked::End(_))
    }

    /// Whether the body has ended, with trailers.
    pub(super) fn has_trailers(self) -> bool {
        self == Chunked::End(true)
    }

    /// Goes on over `bytes`, up to the end of the body; returns how many belong to it, and whether what follows them is
    /// not valid.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> (usize, Result<(), Malformed>) {
        let mut at = 0;
        while at < bytes.len() && !self.ended() {
            if let Chunked::Data(left) = *self {
                let len = left.min((bytes.len() - at) as u64);
                *self = if len == left { Chunked::DataEnd } else { Chunked::Data(left - len) };
                at += len as usize;
                continue;
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
            (Chunked::SizeEnd(0), b'\n') => Some(Chunked::Trailer { empty: true, behind: false }),
            (Chunked::SizeEnd(size), b'\n') => Some(Chunked::Data(size)),
            (Chunked::DataEnd, b'\r') => Some(Chunked::DataLineEnd),
            (Chunked::DataLineEnd, b'\n') => Some(Chunked::START),
            (Chunked::Trailer { empty, behind }, b'\r') => Some(Chunked::TrailerEnd { empty, behind }),
            (Chunked::Trailer { behind, .. }, byte) if byte != b'\n' => Some(Chunked::Trailer { empty: false, behind }),
            (Chunked::TrailerEnd { empty: true, behind }, b'\n') => Some(Chunked::End(behind)),
            (Chunked::TrailerEnd { .. }, b'\n') => Some(Chunked::Trailer { empty: true, behind: true }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `bytes` is the body, and whether it ended, however it is cut up.
    fn length(bytes: &str) -> (usize, bool, Result<(), Malformed>) {
        let mut whole = Chunked::START;
        let (len, result) = whole.advance(bytes.as_bytes());
        for step in 1..bytes.len() {
            let (mut pieces, mut total) = (Chunked::START, 0);
            for piece in bytes.as_bytes().chunks(step) {
                let (len, result) = pieces.advance(piece);
                total += len;
                if result.is_err() || pieces.ended() {
                    break;
                }
            }
            assert_eq!((pieces, total), (whole, len), "{bytes:?} in pieces of {step}");
        }
        (len, whole.ended(), result)
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
