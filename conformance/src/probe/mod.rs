//! A guest that does nothing but what the case tells it: one exported wrapper for each import.
//!
//! The case writes the guest's memory from outside, calls a wrapper with exact arguments, and looks at every byte
//! that changed. No guest toolchain is involved and nothing stands between the case and the ABI.

mod http;

use std::ops::Range;
use std::sync::Arc;

use wharf_core::{Guest, GuestConfig, HostedGuest, HostedSession, LoadOptions, Session, Stop};

use crate::bare::assemble;
use crate::case::{CaseResult, Unmet};
use crate::context::Context;
use crate::{check, check_eq};

pub use http::{HttpProbe, MODULE as EXPERIMENTAL, Req, ReqArgs, at};

/// The byte that memory is filled with before a call, so that every byte written shows.
pub const CANARY: u8 = 0xa5;

/// Makes the text of a probe's module.
#[derive(Debug, Clone, Default)]
pub struct Wat {
    imports: String,
    wrappers: String,
    fields: String,
    count: usize,
}

impl Wat {
    /// A module with a memory of one page that may grow, exported as `memory`, and the function `grow`.
    pub fn new() -> Self {
        Wat::bare()
            .field(r#"(memory (export "memory") 1)"#)
            .field(r#"(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))"#)
    }

    /// A module without anything.
    pub fn bare() -> Self {
        Wat::default()
    }

    /// Imports a function and exports a wrapper of the same name. Types are as in the text format, space-separated.
    pub fn import(self, module: &str, name: &str, params: &str, results: &str) -> Self {
        self.import_as(module, name, name, params, results)
    }

    /// The same, with a wrapper of another name: for functions that have one name and several signatures.
    pub fn import_as(mut self, module: &str, name: &str, wrapper: &str, params: &str, results: &str) -> Self {
        let index = self.count;
        self.count += 1;
        let arguments: String =
            (0..params.split_whitespace().count()).map(|local| format!("(local.get {local})")).collect();
        self.imports.push_str(&format!(
            "(import \"{module}\" \"{name}\" (func $f{index} (param {params}) (result {results})))\n"
        ));
        self.wrappers.push_str(&format!(
            "(func (export \"{wrapper}\") (param {params}) (result {results}) (call $f{index} {arguments}))\n"
        ));
        self
    }

    /// Adds a field of the text format, for example a function of the case's own.
    pub fn field(mut self, field: &str) -> Self {
        self.fields.push_str(field);
        self.fields.push('\n');
        self
    }

    /// The text.
    pub fn text(&self) -> String {
        format!("(module\n{}{}{})", self.imports, self.fields, self.wrappers)
    }
}

impl Context {
    /// Loads a guest of WAT text.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if the text is wrong, [`Unmet::Failed`] if core or the backend refuses it.
    pub fn guest(&self, wat: &str) -> CaseResult<Guest> {
        Ok(self.load(&assemble(wat)?)?)
    }

    /// Loads a guest of WAT text on the host that is put to the test: wharf's own, or one for components. The same
    /// text is loaded once for the whole column.
    ///
    /// # Errors
    /// As [`guest`](Self::guest).
    pub fn hosted(&self, wat: &str) -> CaseResult<Arc<dyn HostedGuest>> {
        self.subject().shared_guest(wat)
    }

    /// Skips a case that is about core modules where a host for components is put to the test.
    ///
    /// # Errors
    /// [`Unmet::Skipped`], with this reason.
    pub fn not_for_components(&self, reason: &str) -> CaseResult {
        match self.subject().component_host() {
            Some(_) => Err(Unmet::Skipped(format!("not applicable to components: {reason}"))),
            None => Ok(()),
        }
    }

    /// Loads a guest, without judging what comes of it.
    ///
    /// # Errors
    /// Core's.
    pub fn load(&self, wasm: &[u8]) -> wharf_core::Result<Guest> {
        Guest::load(&**self.backend(), wasm, &LoadOptions::default())
    }

    /// Starts a guest of WAT text as a probe.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if it does not start.
    pub fn probe(&self, wat: &Wat, config: GuestConfig) -> CaseResult<Probe> {
        Ok(Probe { session: self.guest(&wat.text())?.start(config)? })
    }
}

/// A running probe.
pub struct Probe<S = Session> {
    /// Its instance.
    pub session: S,
}

impl<S: HostedSession> Probe<S> {
    /// Calls a function, which must return.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the guest was ended.
    pub fn call(&mut self, function: &str, arguments: &[u64]) -> CaseResult<Vec<u64>> {
        self.try_call(function, arguments).map_err(|stop| Unmet::from(stop).context(format_args!("calling {function}")))
    }

    /// Calls a function that gives one `i32`, which must return.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the guest was ended.
    pub fn call_i32(&mut self, function: &str, arguments: &[u32]) -> CaseResult<u32> {
        let arguments: Vec<u64> = arguments.iter().map(|argument| u64::from(*argument)).collect();
        let results = self.call(function, &arguments)?;
        check_eq!(results.len(), 1, "the number of results of {function}");
        u32::try_from(results[0]).map_err(|_| Unmet::failed(format!("{function} returned an i32 with high bits set")))
    }

    /// Calls a function, and leaves it to the case what to make of its end.
    ///
    /// # Errors
    /// What ended the guest.
    pub fn try_call(&mut self, function: &str, arguments: &[u64]) -> Result<Vec<u64>, Stop> {
        self.session.call(function, arguments)
    }

    /// The whole memory.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the backend finds none.
    pub fn memory(&mut self) -> CaseResult<&mut [u8]> {
        self.session.memory().ok_or_else(|| Unmet::failed("the backend finds no memory in the probe"))
    }

    /// Writes into the guest's memory.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if the range is not in it.
    pub fn put(&mut self, at: u32, bytes: &[u8]) -> CaseResult {
        self.session
            .write_memory(at, bytes)
            .ok_or_else(|| Unmet::harness("the case writes beyond the probe's memory, or there is none"))
    }

    /// Reads the guest's memory.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if the range is not in it.
    pub fn bytes(&mut self, at: u32, len: u32) -> CaseResult<Vec<u8>> {
        self.session
            .read_memory(at, len)
            .ok_or_else(|| Unmet::harness("the case reads beyond the probe's memory, or there is none"))
    }

    /// Reads a little-endian `u16`.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn u16_at(&mut self, at: u32) -> CaseResult<u16> {
        let bytes = self.bytes(at, 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// Reads a little-endian `u32`.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn u32_at(&mut self, at: u32) -> CaseResult<u32> {
        let bytes = self.bytes(at, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads a little-endian `u64`.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn u64_at(&mut self, at: u32) -> CaseResult<u64> {
        Ok(u64::from(self.u32_at(at)?) | u64::from(self.u32_at(at + 4)?) << 32)
    }

    /// Fills the whole memory with [`CANARY`].
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the backend finds no memory.
    pub fn canary(&mut self) -> CaseResult {
        self.memory()?.fill(CANARY);
        Ok(())
    }

    /// The memory as it is, to compare with later.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the backend finds no memory.
    pub fn snapshot(&mut self) -> CaseResult<Vec<u8>> {
        Ok(self.memory()?.to_vec())
    }

    /// The ranges in which the memory differs from `before`.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if the backend finds no memory.
    pub fn changed(&mut self, before: &[u8]) -> CaseResult<Vec<Range<u32>>> {
        let memory = self.memory()?;
        check_eq!(memory.len(), before.len(), "the memory's size after the call");
        let mut ranges: Vec<Range<u32>> = Vec::new();
        for (at, _) in before.iter().zip(memory.iter()).enumerate().filter(|(_, (before, now))| before != now) {
            let at = u32::try_from(at).map_err(Unmet::harness)?;
            match ranges.last_mut() {
                Some(range) if range.end == at => range.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        Ok(ranges)
    }

    /// Since `before`, nothing may have changed outside `allowed`.
    ///
    /// # Errors
    /// [`Unmet::Failed`] if something did, naming the bytes.
    pub fn only_wrote(&mut self, before: &[u8], allowed: &[Range<u32>]) -> CaseResult {
        for range in self.changed(before)? {
            for at in range {
                check!(
                    allowed.iter().any(|allowed| allowed.contains(&at)),
                    "the host wrote the byte at {at}, which lies outside the ranges it was given, {allowed:?}"
                );
            }
        }
        Ok(())
    }
}
