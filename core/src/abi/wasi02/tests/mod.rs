//! Drives the functions as an adapter would, over a guest that is nothing but memory and an allocator.

mod adapted;
mod command;
mod exchange;
mod fields;
mod files;
mod messages;
mod rules;
mod streams;
mod wit_files;

use super::options::{self, Options};
use super::{Host, functions};
use crate::abi::testing::{self, Fake};
use crate::budget::Budget;
use crate::error::Kind;
use crate::grants::WasiConfig;
use crate::stop::Stop;

/// How large a guest's memory is here.
const MEMORY: usize = 64 << 10;

/// Where the helpers below put arguments and results.
const ARGS: u32 = 0x1000;
const RET: u32 = 0x4000;

/// From where the allocator gives.
const HEAP: u32 = 0x8000;

/// What fills the memory before a call, so that every byte written shows.
const CANARY: u8 = 0xa5;

struct Guest {
    host: Host,
    fake: Fake,
    options: Options,
    /// Where the next argument goes.
    args: u32,
}

impl Guest {
    fn new(config: &WasiConfig) -> Self {
        Guest::within(config, Budget::unlimited())
    }

    /// A guest that may have the host keep so much.
    fn within(config: &WasiConfig, budget: Budget) -> Self {
        let fake = Fake::new(vec![CANARY; MEMORY], HEAP);
        Guest { host: testing::host(config, budget), fake, options: Options::default(), args: ARGS }
    }

    fn try_call(&mut self, name: &str, args: &[u64]) -> Result<u64, Stop> {
        let (interface, name) = name.split_once('#').unwrap();
        let function = functions()
            .find(|f| f.interface == interface && f.name == name)
            .unwrap_or_else(|| panic!("{interface}#{name} is not a function"));
        let ty = function.ty();
        assert_eq!(args.len(), ty.params.len(), "{interface}#{name}");
        let mut slots = args.to_vec();
        slots.resize(ty.params.len().max(ty.results.len()), 0);
        function.call(&self.host, &self.options, &mut self.fake, &mut slots)?;
        Ok(slots.first().copied().unwrap_or_default())
    }

    #[track_caller]
    fn call(&mut self, name: &str, args: &[u64]) -> u64 {
        self.try_call(name, args).unwrap()
    }

    /// The call has to end the guest for a broken rule, and to say which.
    #[track_caller]
    fn traps(&mut self, name: &str, args: &[u64], text: &str) {
        match self.try_call(name, args) {
            Err(Stop::Error(error)) => {
                let message = error.to_string();
                assert_eq!(error.kind(), Kind::Trap, "{message}");
                assert!(message.contains(name), "{message}");
                assert!(message.contains(text), "{message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Puts bytes into memory; their address and count are the two arguments.
    fn bytes(&mut self, bytes: &[u8]) -> [u64; 2] {
        let at = self.args.next_multiple_of(8);
        self.args = at + bytes.len() as u32;
        self.put(at, bytes);
        [at.into(), bytes.len() as u64]
    }

    fn put(&mut self, at: u32, bytes: &[u8]) {
        self.fake.memory[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn get(&self, at: u32, len: u32) -> Vec<u8> {
        self.fake.memory[at as usize..][..len as usize].to_vec()
    }

    fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.get(at, 4).try_into().unwrap())
    }

    fn u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.get(at, 8).try_into().unwrap())
    }

    /// The string or list of bytes whose address and count lie at `at`.
    fn string(&self, at: u32) -> Vec<u8> {
        self.get(self.u32(at), self.u32(at + 4))
    }
}

#[test]
fn a_guest_that_names_other_options_gets_them() {
    let (name, options) = options::parse("[method]error.to-debug-string;realloc=mine").unwrap();
    assert_eq!((name, &*options.realloc), ("[method]error.to-debug-string", "mine"));
    let mut guest = Guest::new(&WasiConfig::new());
    guest.options = options;
    match guest.try_call("wasi:cli/environment#get-arguments", &[RET.into()]) {
        Err(Stop::Error(error)) => assert!(error.to_string().contains("`mine`"), "{error}"),
        other => panic!("{other:?}"),
    }
}
