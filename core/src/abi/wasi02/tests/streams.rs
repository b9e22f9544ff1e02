//! Output streams: what a permit allows, and what a stream says that closes.

use std::task::{Context, Poll};

use bytes::Bytes;

use super::*;
use crate::abi::wasi02::io::{End, OutputStream, Sink};
use crate::run::Run;

const CHECK: &str = "wasi:io/streams#[method]output-stream.check-write";
const WRITE: &str = "wasi:io/streams#[method]output-stream.write";
const ZEROES: &str = "wasi:io/streams#[method]output-stream.write-zeroes";
const FLUSHED: &str = "wasi:io/streams#[method]output-stream.blocking-write-and-flush";
const FLUSHED_ZEROES: &str = "wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush";

/// Takes so many bytes, two at a time, and is closed then.
struct Takes(u64);

impl Sink for Takes {
    fn room(&mut self) -> Result<u64, End> {
        if self.0 == 0 { Err(End::Closed) } else { Ok(self.0.min(2)) }
    }

    fn write(&mut self, _: &Run, bytes: Bytes) -> Result<(), End> {
        self.0 -= bytes.len() as u64;
        Ok(())
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn stuck(&mut self) -> Option<&'static str> {
        None
    }
}

fn taking(bytes: u64) -> (Guest, u64) {
    let guest = Guest::new(&WasiConfig::new());
    let stream = guest.host.lock().table.push(OutputStream::new(Takes(bytes)), None).unwrap();
    (guest, stream.into())
}

/// Calls a function of a stream; gives the number of its answer's case, and of the error's, if it is one.
#[track_caller]
fn answer(guest: &mut Guest, name: &str, args: &[u64]) -> (u8, Option<u8>) {
    guest.call(name, &[args, &[RET.into()]].concat());
    let case = guest.get(RET, 1)[0];
    // A `result` with a payload of 64 bits begins at the next multiple of 8.
    let error = if name == CHECK { RET + 8 } else { RET + 4 };
    (case, (case == 1).then(|| guest.get(error, 1)[0]))
}

const OK: (u8, Option<u8>) = (0, None);
const CLOSED: (u8, Option<u8>) = (1, Some(1));

#[test]
fn a_permit_is_for_one_write() {
    for (name, one, two) in [(WRITE, [0, 1].as_slice(), [0, 2].as_slice()), (ZEROES, &[1], &[2])] {
        let (mut guest, stream) = taking(8);
        let with = |len: &[u64]| [&[stream], len, &[RET.into()]].concat();
        guest.traps(name, &with(one), "`check-write` allowed 0");
        assert_eq!(answer(&mut guest, CHECK, &[stream]), OK);
        guest.call(name, &with(one));
        guest.traps(name, &with(one), "`check-write` allowed 0");
        assert_eq!(answer(&mut guest, CHECK, &[stream]), OK);
        guest.call(name, &with(two));
        assert_eq!(answer(&mut guest, FLUSHED, &[stream, 0, 3]), OK);
        guest.traps(name, &with(one), "`check-write` allowed 0");
    }
}

#[test]
fn no_more_is_flushed_at_once_than_the_wit_text_allows() {
    for (name, args) in [(FLUSHED, vec![0, 4097]), (FLUSHED_ZEROES, vec![4097]), (FLUSHED_ZEROES, vec![u64::MAX])] {
        let (mut guest, stream) = taking(8192);
        let args = [vec![stream], args, vec![RET.into()]].concat();
        guest.traps(name, &args, "at most 4096 are allowed");
        assert_eq!(answer(&mut guest, FLUSHED, &[stream, 0, 4096]), OK);
        assert_eq!(answer(&mut guest, FLUSHED_ZEROES, &[stream, 4096]), OK);
    }
}

#[test]
fn a_stream_that_closes_with_the_last_byte_has_taken_it() {
    for (name, args) in [(FLUSHED, vec![0, 5]), (FLUSHED_ZEROES, vec![5])] {
        let (mut guest, stream) = taking(5);
        assert_eq!(answer(&mut guest, name, &[vec![stream], args.clone()].concat()), OK, "{name}");
        assert_eq!(answer(&mut guest, CHECK, &[stream]), CLOSED, "{name}");
        let (mut guest, stream) = taking(4);
        assert_eq!(answer(&mut guest, name, &[vec![stream], args].concat()), CLOSED, "{name}");
    }
    let (mut guest, stream) = taking(0);
    assert_eq!(answer(&mut guest, FLUSHED, &[stream, 0, 0]), CLOSED, "a write of nothing asks whether it works");
}
