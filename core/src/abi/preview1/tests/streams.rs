//! Standard streams, and devices and pipes that behave like them.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::abi::preview1::errno::{Fail, Outcome};
use crate::abi::preview1::io::transfer;
use crate::abi::preview1::types::{FD_NONBLOCK, Iovec};
use crate::error::Kind;
use crate::grants::{Capture, Input, Output};

fn timed_out(result: Result<u16, Stop>) -> bool {
    matches!(result, Err(Stop::Error(error)) if error.kind() == Kind::Timeout)
}

#[test]
fn captured_output_keeps_its_limit() {
    let (out, err) = (Capture::new(8), Capture::new(100));
    let config = WasiConfig::new().stdout(Output::Capture(out.clone())).stderr(Output::Capture(err.clone()));
    let mut guest = Guest::new(config);
    assert_eq!(guest.write(1, b"12345"), 5);
    assert_eq!(guest.write(2, b"error"), 5);
    assert_eq!(guest.write(1, b"67890"), 5);
    assert_eq!((out.contents(), out.dropped()), (b"12345678".to_vec(), 2));
    assert_eq!((err.contents(), err.dropped()), (b"error".to_vec(), 0));
}

#[test]
fn streams_go_one_way() {
    let mut guest = Guest::new(WasiConfig::new());
    let [iovs, len] = guest.iovecs(&[(DATA, 1)]);
    guest.fails("fd_write", &[0, iovs, len, OUT.into()], Errno::Badf);
    guest.fails("fd_read", &[1, iovs, len, OUT.into()], Errno::Badf);
    guest.fails("fd_sync", &[1], Errno::Notcapable);
}

#[test]
fn input_is_read_in_parts_to_its_end() {
    let mut guest = Guest::new(WasiConfig::new().stdin(Input::Bytes(Bytes::from_static(b"0123456789"))));
    let [iovs, len] = guest.iovecs(&[(DATA, 2), (DATA + 2, 2)]);
    guest.ok("fd_read", &[0, iovs, len, OUT.into()]);
    assert_eq!((guest.u32(OUT), guest.get(DATA, 4)), (4, b"0123".to_vec()));
    assert_eq!(guest.read(0, 64), b"456789");
    assert_eq!(guest.read(0, 64), b"");
}

#[test]
fn a_writer_gets_all_of_a_large_write_in_order() {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<(Vec<u8>, usize)>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // As little at a time as a writer may take.
            let taken = bytes.len().min(1000);
            self.0.lock().unwrap().0.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.lock().unwrap().1 += 1;
            Ok(())
        }
    }
    let shared = Shared::default();
    let mut guest = Guest::new(WasiConfig::new().stdout(Output::writer(shared.clone())));
    let text = (0..MEMORY).map(|at| at as u8).collect::<Vec<_>>();
    guest.bytes().copy_from_slice(&text);
    let [iovs, len] = guest.iovecs(&[(0, 0x2000), (0x2200, 0x8000), (0, 0x2000)]);
    let written = [&text[..0x2000], &text[0x2200..0xa200], &text[..0x2000]].concat();
    guest.ok("fd_write", &[1, iovs, len, OUT.into()]);
    assert_eq!(guest.u32(OUT) as usize, written.len());
    let shared = shared.0.lock().unwrap();
    assert!(shared.0 == written);
    assert!(shared.1 > 0, "a write is flushed");
}

#[test]
fn a_writer_that_fails_is_an_errno() {
    struct Broken(bool);
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            if self.0 {
                panic!("the embedder's writer panics, which this test is about");
            }
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (panics, errno) in [(false, Errno::Pipe), (true, Errno::Io)] {
        let mut guest = Guest::new(WasiConfig::new().stdout(Output::writer(Broken(panics))));
        let [iovs, len] = guest.iovecs(&[(DATA, 1)]);
        guest.fails("fd_write", &[1, iovs, len, OUT.into()], errno);
        guest.fails("fd_write", &[1, iovs, len, OUT.into()], errno);
    }
}

#[test]
fn a_writer_that_blocks_does_not_hold_a_guest() {
    let (_reader, writer) = io::pipe().unwrap();
    let output = Output::writer(writer);
    for _ in 0..3 {
        let mut guest = Guest::new(WasiConfig::new().stdout(output.clone()));
        guest.run.set_deadline(Some(Instant::now() + Duration::from_millis(100)));
        let [iovs, len] = guest.iovecs(&[(0, MEMORY as u32)]);
        let start = Instant::now();
        // Nobody reads, so the pipe fills up.
        while let Ok(errno) = guest.try_call("fd_write", &[1, iovs, len, OUT.into()]) {
            assert_eq!(errno, OK);
        }
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_reader_that_blocks_does_not_hold_a_guest_and_loses_nothing() {
    let (reader, mut writer) = io::pipe().unwrap();
    let input = Input::reader(reader);
    let mut guest = Guest::new(WasiConfig::new().stdin(input.clone()));
    guest.run.set_deadline(Some(Instant::now() + Duration::from_millis(50)));
    let [iovs, len] = guest.iovecs(&[(DATA, 16)]);
    assert!(timed_out(guest.try_call("fd_read", &[0, iovs, len, OUT.into()])));
    drop(guest);

    writer.write_all(b"for the next").unwrap();
    drop(writer);
    let mut guest = Guest::new(WasiConfig::new().stdin(input));
    assert_eq!(guest.read(0, 4), b"for ");
    let [iovs, len] = guest.iovecs(&[(DATA, 8), (DATA + 8, 8)]);
    guest.ok("fd_read", &[0, iovs, len, OUT.into()]);
    assert_eq!((guest.u32(OUT), guest.get(DATA, 8)), (8, b"the next".to_vec()));
    assert_eq!(guest.read(0, 4), b"");
    assert_eq!(guest.read(0, 4), b"");
}

#[test]
fn input_without_waiting_is_again_until_it_arrives() {
    let (reader, mut writer) = io::pipe().unwrap();
    let mut guest = Guest::new(WasiConfig::new().stdin(Input::reader(reader)));
    guest.ok("fd_fdstat_set_flags", &[0, FD_NONBLOCK.into()]);
    let [iovs, len] = guest.iovecs(&[(DATA, 16)]);
    guest.fails("fd_read", &[0, iovs, len, OUT.into()], Errno::Again);
    writer.write_all(b"now").unwrap();
    let start = Instant::now();
    while guest.call("fd_read", &[0, iovs, len, OUT.into()]) == Errno::Again as u16 {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((guest.u32(OUT), guest.get(DATA, 3)), (3, b"now".to_vec()));
}

#[test]
fn a_reader_that_fails_is_an_errno() {
    struct Broken(u8);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => Err(io::ErrorKind::OutOfMemory.into()),
                3 => panic!("the embedder's reader panics, which this test is about"),
                // More than there was room for.
                4 => Ok(usize::MAX),
                _ => Ok(0),
            }
        }
    }
    let mut guest = Guest::new(WasiConfig::new().stdin(Input::reader(Broken(0))));
    let [iovs, len] = guest.iovecs(&[(DATA, 16)]);
    guest.fails("fd_read", &[0, iovs, len, OUT.into()], Errno::Nomem);
    guest.fails("fd_read", &[0, iovs, len, OUT.into()], Errno::Io);
    let mut total = 0;
    loop {
        match guest.read(0, 0x4000).len() {
            0 => break,
            len => total += len,
        }
    }
    assert_eq!(total, 64 << 10);
}

#[test]
fn what_comes_after_some_input_is_left_for_the_next_read() {
    /// A terminal, say, whose end is told once.
    struct Parts(Vec<&'static [u8]>);
    impl Read for Parts {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let part = if self.0.is_empty() { &[][..] } else { self.0.remove(0) };
            buffer[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }
    let mut guest = Guest::new(WasiConfig::new().stdin(Input::reader(Parts(vec![b"abc", b"", b"def"]))));
    let [iovs, len] = guest.iovecs(&[(DATA, 3), (DATA + 3, 3)]);
    for expected in ["abc", "", "def", ""] {
        guest.ok("fd_read", &[0, iovs, len, OUT.into()]);
        let read = guest.u32(OUT);
        assert_eq!(guest.get(DATA, read), expected.as_bytes());
    }
}

#[test]
fn a_named_pipe_does_not_hold_a_guest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let mut guest = Guest::new(WasiConfig::new().preopen(dir.path(), "/").unwrap());
    let fd = guest.open("pipe", 0, READ);
    assert_eq!(guest.read(fd, 4), b"", "nobody writes");
    let mut writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();

    let [iovs, len] = guest.iovecs(&[(DATA, 16)]);
    guest.ok("fd_fdstat_set_flags", &[fd, FD_NONBLOCK.into()]);
    guest.fails("fd_read", &[fd, iovs, len, OUT.into()], Errno::Again);
    guest.ok("fd_fdstat_set_flags", &[fd, 0]);
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        writer.write_all(b"late").unwrap();
        writer
    });
    assert_eq!(guest.read(fd, 16), b"late");
    let _writer = late.join().unwrap();
    guest.run.set_deadline(Some(Instant::now() + Duration::from_millis(50)));
    assert!(timed_out(guest.try_call("fd_read", &[fd, iovs, len, OUT.into()])));
}

#[test]
fn standard_streams_look_like_streams() {
    let mut guest = Guest::new(WasiConfig::new());
    for (fd, right) in [(0, READ), (1, WRITE), (2, WRITE)] {
        guest.ok("fd_fdstat_get", &[fd, OUT.into()]);
        assert_eq!(guest.get(OUT, 1), [0]);
        assert_eq!(guest.u64(OUT + 8) & (READ | WRITE | rights::FD_SEEK | rights::FD_TELL), right);
    }
}

#[test]
fn buffers_are_gone_through_in_parts() {
    let iovecs = [(10, 5), (20, 0), (30, 3)].map(|(ptr, len)| Iovec { ptr, len });
    let parts = |steps: &mut dyn FnMut(usize) -> Outcome<usize>| {
        let mut seen = Vec::new();
        let total = transfer(&iovecs, 2, |part, before| {
            seen.push((part.ptr, part.len, before));
            steps(seen.len())
        });
        (seen, total.map_err(|fail| matches!(fail, Fail::Errno(Errno::Io))))
    };
    let all = [(10, 2, 0), (12, 2, 2), (14, 1, 4), (30, 2, 5), (32, 1, 7)];
    assert_eq!(parts(&mut |at| Ok(if at == 3 || at == 5 { 1 } else { 2 })), (all.to_vec(), Ok(8)));
    assert_eq!(
        parts(&mut |at| Ok(if at == 2 { 1 } else { 2 })),
        (all[..2].to_vec(), Ok(3)),
        "until one is not used up"
    );
    let fails = |first| move |at| if at >= first { Err(Errno::Io.into()) } else { Ok(2) };
    assert_eq!(parts(&mut fails(2)), (all[..2].to_vec(), Ok(2)), "an error after some bytes is kept back");
    assert_eq!(parts(&mut fails(1)), (all[..1].to_vec(), Err(true)));
    let too_many = [(0, u32::MAX), (0, 1)].map(|(ptr, len)| Iovec { ptr, len });
    assert!(matches!(transfer(&too_many, 2, |_, _| Ok(0)), Err(Fail::Errno(Errno::Inval))), "the count would not fit");
}
