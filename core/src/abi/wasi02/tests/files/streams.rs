//! Files as streams of bytes.

use super::*;

impl Files {
    #[track_caller]
    fn stream(&mut self, method: &str, file: u64, args: &[u64]) -> u64 {
        let at = self.method(&format!("descriptor.{method}"), 4, file, args).unwrap();
        self.guest.u32(at).into()
    }

    /// What a stream gives; `None` at its end.
    #[track_caller]
    fn next(&mut self, stream: u64, len: u64) -> Option<Vec<u8>> {
        self.guest.fake.next = HEAP;
        self.guest.call("wasi:io/streams#[method]input-stream.read", &[stream, len, RET.into()]);
        match self.guest.get(RET, 1)[0] {
            0 => Some(self.guest.string(RET + 4)),
            _ => {
                assert_eq!(self.guest.get(RET + 4, 1)[0], 1, "closed");
                None
            }
        }
    }
}

const FLUSHED: &str = "wasi:io/streams#[method]output-stream.blocking-write-and-flush";

#[test]
fn a_file_is_read_as_a_stream_from_any_place() {
    let mut files = files();
    let file = files.open("file", 0, READ).unwrap();
    let stream = files.stream("read-via-stream", file, &[6]);
    assert_eq!(files.next(stream, 0).unwrap(), b"");
    assert_eq!(files.next(stream, 3).unwrap(), b"678");
    assert_eq!(files.next(stream, 3).unwrap(), b"9");
    assert_eq!(files.next(stream, 3), None);
    let subscribe = "wasi:io/streams#[method]input-stream.subscribe";
    let pollable = files.guest.call(subscribe, &[stream]);
    assert_eq!(files.guest.call("wasi:io/poll#[method]pollable.ready", &[pollable]), 1);
}

/// A process may not read its own memory where nothing is mapped.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_cannot_be_read_fails_its_stream() {
    let mut files = files_of(|config, _| config.preopen_read_only("/proc/self", "/").unwrap());
    let file = files.open("mem", 0, READ).unwrap();
    let stream = files.stream("read-via-stream", file, &[0]);
    files.guest.call("wasi:io/streams#[method]input-stream.blocking-read", &[stream, 1, RET.into()]);
    assert_eq!((files.guest.get(RET, 1), files.guest.get(RET + 4, 1)), (vec![1], vec![0]), "it failed");
}

#[test]
fn a_file_is_written_as_a_stream_from_any_place() {
    let mut files = files();
    let file = files.open("file", 0, WRITE).unwrap();
    let (inside, end) = (files.stream("write-via-stream", file, &[2]), files.stream("append-via-stream", file, &[]));
    for (stream, text) in [(inside, "--"), (end, "*"), (inside, "+"), (end, "*")] {
        files.guest.args = ARGS;
        let [ptr, len] = files.path(text);
        files.guest.call(FLUSHED, &[stream, ptr, len, RET.into()]);
        assert_eq!(files.guest.get(RET, 1)[0], 0);
    }
    assert_eq!(files.text("file"), "01--+56789**");
    files.guest.call("wasi:io/streams#[method]output-stream.check-write", &[inside, RET.into()]);
    assert_eq!((files.guest.get(RET, 1), files.guest.u64(RET + 8)), (vec![0], 64 << 10));
}

#[test]
fn a_stream_says_what_failed() {
    let mut files = files_of(|config, _| config.preopen("/dev", "/dev").unwrap());
    let full = files.open("full", 0, WRITE).unwrap();
    let stream = files.stream("write-via-stream", full, &[0]);
    let [ptr, len] = files.path("a");
    files.guest.call(FLUSHED, &[stream, ptr, len, RET.into()]);
    assert_eq!(files.guest.get(RET, 1), [1], "failed");
    assert_eq!(files.guest.get(RET + 4, 1), [0], "last-operation-failed");
    let error = files.guest.u32(RET + 8).into();
    files.guest.call("wasi:filesystem/types#filesystem-error-code", &[error, RET.into()]);
    assert_eq!(files.guest.get(RET, 2), [1, ErrorCode::InsufficientSpace as u8]);
    files.guest.call("wasi:io/error#[method]error.to-debug-string", &[error, RET.into()]);
    assert!(String::from_utf8(files.guest.string(RET)).unwrap().contains("space"));
    files.guest.call("wasi:http/types#http-error-code", &[error, RET.into()]);
    assert_eq!(files.guest.get(RET, 1), [0], "it is none of HTTP");
    files.guest.call("wasi:sockets/network#network-error-code", &[error, RET.into()]);
    assert_eq!(files.guest.get(RET, 1), [0], "nor of sockets");
}
