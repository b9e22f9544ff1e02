//! Drives [`FUNCTIONS`](super::FUNCTIONS) as an adapter would, over a guest that is nothing but memory.

mod args;
mod contract;
mod files;
mod grants;
mod listing;
mod paths;
mod polling;
mod random_calls;
mod sockets;
mod streams;
mod witx_file;

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::errno::Errno;
use super::rights;
use super::types::{u32_at, u64_at};
use super::{Dialect, FUNCTIONS, Run, Stop, Wasi};
use crate::grants::{Network, WasiConfig};
use crate::types::{Caller, Trap, TrapCode};

/// How large a guest's memory is here.
const MEMORY: usize = 64 << 10;

/// Where the helpers below put paths, buffers' lists and results.
const PATH: u32 = 0x100;
const PATH_2: u32 = 0x1100;
const LIST: u32 = 0x2100;
const OUT: u32 = 0x4100;
/// Free for a test's own data; up to the end of memory.
const DATA: u32 = 0x8000;

/// The first granted directory.
const DIR: u64 = 3;

const OK: u16 = Errno::Success as u16;
const READ: u64 = rights::FD_READ;
const WRITE: u64 = rights::FD_WRITE;

struct Memory(Option<Vec<u8>>);

impl Caller for Memory {
    fn memory(&mut self) -> Option<&mut [u8]> {
        self.0.as_deref_mut()
    }

    fn call(&mut self, export: &str, _: &mut [u64]) -> Result<(), Trap> {
        Err(Trap::new(TrapCode::Other, format!("{export} was called")))
    }

    fn global(&mut self, _: &str) -> Option<u64> {
        None
    }

    fn set_global(&mut self, _: &str, _: u64) -> bool {
        false
    }
}

struct Guest {
    wasi: Wasi,
    memory: Memory,
    run: Run,
}

impl Guest {
    fn new(config: WasiConfig) -> Self {
        let run = Run::default();
        // No test waits longer than this, whatever goes wrong.
        run.set_deadline(Some(Instant::now() + Duration::from_secs(60)));
        Guest { wasi: Wasi::new(config, run.clone()), memory: Memory(Some(vec![0; MEMORY])), run }
    }

    /// A guest that is granted a new directory to read and write.
    fn with_dir() -> (Self, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let config = WasiConfig::new().preopen(dir.path(), "/").unwrap();
        (Guest::new(config), dir)
    }

    fn bytes(&mut self) -> &mut Vec<u8> {
        self.memory.0.as_mut().unwrap()
    }

    /// Calls `name`; the result is the error number.
    fn try_call(&mut self, name: &str, args: &[u64]) -> Result<u16, Stop> {
        let function = FUNCTIONS.iter().find(|function| function.name == name).unwrap();
        assert_eq!(args.len(), function.params.len(), "{name}");
        let mut slots = vec![0; function.slots()];
        slots[..args.len()].copy_from_slice(args);
        (function.call)(&self.wasi, &mut self.memory, &mut slots)?;
        Ok(u16::try_from(slots[0]).unwrap())
    }

    fn call(&mut self, name: &str, args: &[u64]) -> u16 {
        self.try_call(name, args).unwrap()
    }

    #[track_caller]
    fn ok(&mut self, name: &str, args: &[u64]) {
        assert_eq!(self.call(name, args), OK, "{name}{args:?}");
    }

    #[track_caller]
    fn fails(&mut self, name: &str, args: &[u64], errno: Errno) {
        assert_eq!(self.call(name, args), errno as u16, "{name}{args:?}");
    }

    fn put(&mut self, ptr: u32, bytes: &[u8]) {
        self.bytes()[ptr as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn get(&mut self, ptr: u32, len: u32) -> Vec<u8> {
        self.bytes()[ptr as usize..][..len as usize].to_vec()
    }

    fn u32(&mut self, ptr: u32) -> u32 {
        u32_at(self.bytes(), ptr as usize)
    }

    fn u64(&mut self, ptr: u32) -> u64 {
        u64_at(self.bytes(), ptr as usize)
    }

    /// Puts a path in memory; its pointer and length are the two arguments.
    fn path(&mut self, path: &str) -> [u64; 2] {
        self.put(PATH, path.as_bytes());
        [PATH.into(), path.len() as u64]
    }

    /// As [`path`](Guest::path), for a function's second path.
    fn path_2(&mut self, path: &str) -> [u64; 2] {
        self.put(PATH_2, path.as_bytes());
        [PATH_2.into(), path.len() as u64]
    }

    /// Puts a list of buffers in memory.
    fn iovecs(&mut self, iovecs: &[(u32, u32)]) -> [u64; 2] {
        for (at, (ptr, len)) in (LIST..).step_by(8).zip(iovecs) {
            self.put(at, &ptr.to_le_bytes());
            self.put(at + 4, &len.to_le_bytes());
        }
        [LIST.into(), iovecs.len() as u64]
    }

    fn open_as(&mut self, dir: u64, path: &str, oflags: u32, rights: u64, fdflags: u32) -> Result<u64, u16> {
        let [ptr, len] = self.path(path);
        let args = [dir, 1, ptr, len, oflags.into(), rights, rights, fdflags.into(), OUT.into()];
        match self.call("path_open", &args) {
            OK => Ok(self.u32(OUT).into()),
            errno => Err(errno),
        }
    }

    #[track_caller]
    fn open(&mut self, path: &str, oflags: u32, rights: u64) -> u64 {
        self.open_as(DIR, path, oflags, rights, 0).unwrap()
    }

    #[track_caller]
    fn write(&mut self, fd: u64, bytes: &[u8]) -> u32 {
        self.put(DATA, bytes);
        let [iovs, len] = self.iovecs(&[(DATA, bytes.len() as u32)]);
        self.ok("fd_write", &[fd, iovs, len, OUT.into()]);
        self.u32(OUT)
    }

    #[track_caller]
    fn read(&mut self, fd: u64, len: u32) -> Vec<u8> {
        let [iovs, count] = self.iovecs(&[(DATA, len)]);
        self.ok("fd_read", &[fd, iovs, count, OUT.into()]);
        let read = self.u32(OUT);
        self.get(DATA, read)
    }

    #[track_caller]
    fn path_fails(&mut self, name: &str, path: &str, errno: Errno) {
        let [ptr, len] = self.path(path);
        self.fails(name, &[DIR, ptr, len], errno);
    }
}
