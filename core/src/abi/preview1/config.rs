//! What an embedder grants a guest.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::abi::preview1::sock::Network;
use crate::abi::preview1::stdio::{Input, Output};
use crate::error::{Error, Kind, Result};

/// The most bytes that arguments and environment take together, terminators included.
pub const MAX_STRINGS: usize = 1 << 20;

/// How many file descriptors a guest may have open unless [`WasiConfig::max_fds`] says otherwise.
pub const DEFAULT_MAX_FDS: usize = 256;

/// What a guest gets through preview 1. The default grants nothing: no arguments, no environment, no files, no network, an
/// empty standard input, and output that is discarded.
///
/// Arguments and variables are UTF-8, though to preview 1 they are bytes: WASI 0.2 has them as strings, and what a guest is
/// granted does not depend on which of the two it was built for.
///
/// Directories are opened as they are granted. A clone shares them, so that one configuration serves many guests.
#[derive(Clone)]
pub struct WasiConfig {
    pub(in crate::abi) args: Arc<Vec<String>>,
    pub(in crate::abi) env: Arc<Vec<String>>,
    pub(in crate::abi) preopens: Arc<Vec<Preopen>>,
    pub(in crate::abi) stdin: Input,
    pub(in crate::abi) stdout: Output,
    pub(in crate::abi) stderr: Output,
    pub(in crate::abi) max_fds: usize,
    pub(super) network: Network,
    strings: usize,
}

/// A directory that a guest finds open when it starts.
#[derive(Clone)]
pub(in crate::abi) struct Preopen {
    pub(in crate::abi) dir: Arc<Dir>,
    pub(super) path: Arc<Path>,
    pub(in crate::abi) name: Arc<str>,
    pub(in crate::abi) writable: bool,
}

impl Default for WasiConfig {
    fn default() -> Self {
        WasiConfig {
            args: Arc::default(),
            env: Arc::default(),
            preopens: Arc::default(),
            stdin: Input::default(),
            stdout: Output::default(),
            stderr: Output::default(),
            max_fds: DEFAULT_MAX_FDS,
            network: Network::default(),
            strings: 0,
        }
    }
}

impl WasiConfig {
    /// Grants nothing; the same as the default.
    pub fn new() -> Self {
        WasiConfig::default()
    }

    /// Appends an argument. The first is, by custom, the program's name.
    ///
    /// # Errors
    /// [`Kind::Config`] if it holds a NUL byte, or if arguments and environment grow beyond [`MAX_STRINGS`].
    pub fn arg(mut self, arg: impl Into<String>) -> Result<Self> {
        let arg = arg.into();
        self.admit(&arg, || format!("argument {}", self.args.len()))?;
        self.strings += arg.len() + 1;
        Arc::make_mut(&mut self.args).push(arg);
        Ok(self)
    }

    /// Appends arguments.
    ///
    /// # Errors
    /// As [`arg`](WasiConfig::arg).
    pub fn args<S: Into<String>>(self, args: impl IntoIterator<Item = S>) -> Result<Self> {
        args.into_iter().try_fold(self, WasiConfig::arg)
    }

    /// Sets an environment variable, in place of an earlier one of that name.
    ///
    /// # Errors
    /// [`Kind::Config`] if the name is empty or holds `=`, if either holds a NUL byte, or if arguments and
    /// environment grow beyond [`MAX_STRINGS`].
    pub fn env(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        if name.is_empty() || name.contains('=') {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "environment variable name {name:?} is empty or contains '='; pass only the name, and the value \
                     separately"
                ),
            ));
        }
        let prefix = format!("{name}=");
        if let Some(at) = self.env.iter().position(|entry| entry.starts_with(&prefix)) {
            self.strings -= Arc::make_mut(&mut self.env).remove(at).len() + 1;
        }
        let entry = prefix + value.as_ref();
        self.admit(&entry, || format!("environment variable {name:?}"))?;
        self.strings += entry.len() + 1;
        Arc::make_mut(&mut self.env).push(entry);
        Ok(self)
    }

    /// Grants the host directory `host`, to be read and written, under the name `guest`.
    ///
    /// # Errors
    /// [`Kind::Config`] if it cannot be opened as a directory, or if `guest` is empty or holds a NUL byte.
    pub fn preopen(self, host: impl AsRef<Path>, guest: &str) -> Result<Self> {
        self.grant(host.as_ref(), guest, true)
    }

    /// Grants the host directory `host`, to be read only, under the name `guest`.
    ///
    /// # Errors
    /// As [`preopen`](WasiConfig::preopen).
    pub fn preopen_read_only(self, host: impl AsRef<Path>, guest: &str) -> Result<Self> {
        self.grant(host.as_ref(), guest, false)
    }

    /// Sets standard input.
    pub fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Sets standard output.
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Sets standard error.
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Sets what the guest may do with sockets.
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets how many file descriptors the guest may have open at once, sockets not counted: [`Network::max_sockets`]
    /// counts those. The three standard streams and the granted directories count, and are there in any case.
    pub fn max_fds(mut self, limit: usize) -> Self {
        self.max_fds = limit;
        self
    }

    /// Whether a guest that was granted `self` has nothing that `other` does not grant, and lacks nothing: they differ in
    /// the standard streams at most.
    pub(crate) fn grants_the_same(&self, other: &WasiConfig) -> bool {
        let same = |own: &Preopen, other: &Preopen| {
            Arc::ptr_eq(&own.dir, &other.dir) && own.name == other.name && own.writable == other.writable
        };
        (Arc::ptr_eq(&self.args, &other.args) || self.args == other.args)
            && (Arc::ptr_eq(&self.env, &other.env) || self.env == other.env)
            && self.preopens.len() == other.preopens.len()
            && self.preopens.iter().zip(&*other.preopens).all(|(own, other)| same(own, other))
            && self.max_fds == other.max_fds
            && self.network.grants_the_same(&other.network)
    }

    fn admit(&self, entry: &str, what: impl FnOnce() -> String) -> Result<()> {
        if let Some(at) = entry.find('\0') {
            return Err(Error::new(
                Kind::Config,
                format!("{} has a NUL byte at offset {at}, which preview 1 cannot carry; remove it", what()),
            ));
        }
        if self.strings + entry.len() + 1 > MAX_STRINGS {
            return Err(Error::new(
                Kind::Config,
                format!(
                    "{} makes arguments and environment larger than {MAX_STRINGS} bytes; pass less, or use a file",
                    what()
                ),
            ));
        }
        Ok(())
    }

    fn grant(mut self, host: &Path, guest: &str, writable: bool) -> Result<Self> {
        if guest.is_empty() || guest.contains('\0') {
            return Err(Error::new(
                Kind::Config,
                format!("guest name {guest:?} for directory {} is empty or has a NUL byte", host.display()),
            ));
        }
        let unusable = |error| {
            let message = format!("cannot open directory {} to grant it to the guest", host.display());
            Error::new(Kind::Config, message).with_source(error)
        };
        let dir = Dir::open_ambient_dir(host, ambient_authority()).map_err(unusable)?;
        // Opening asks for less than reading, so a directory that cannot be read would only fail in the guest.
        dir.entries().map_err(unusable)?;
        let preopen = Preopen { dir: Arc::new(dir), path: host.into(), name: guest.into(), writable };
        Arc::make_mut(&mut self.preopens).push(preopen);
        Ok(self)
    }
}

impl fmt::Debug for WasiConfig {
    /// Leaves out the environment's values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.env.iter().map(|entry| entry.split('=').next().unwrap_or_default());
        f.debug_struct("WasiConfig")
            .field("args", &self.args)
            .field("env", &names.collect::<Vec<_>>())
            .field("preopens", &self.preopens.iter().map(|preopen| &*preopen.name).collect::<Vec<_>>())
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .field("max_fds", &self.max_fds)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_compared_and_streams_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let base = WasiConfig::new().arg("a").unwrap().env("B", "c").unwrap();
        let base = base.preopen(directory.path(), "/d").unwrap();
        assert!(base.grants_the_same(&base.clone().stdout(Output::Inherit)));
        // As for a request: nothing of it is shared.
        let policy = |origin| Arc::new(crate::http::Policy::builder().allow(origin).unwrap().build());
        let made = || WasiConfig::new().env("B", "c").unwrap();
        let connects = |origin| made().network(Network::new().connect(policy(origin)));
        assert!(made().grants_the_same(&made()));
        assert!(connects("http://a").grants_the_same(&connects("http://a")));
        assert!(!connects("http://a").grants_the_same(&connects("http://b")));
        assert!(!connects("http://a").grants_the_same(&made()));
        let others = [
            base.clone().arg("more").unwrap(),
            base.clone().env("B", "other").unwrap(),
            base.clone().preopen(directory.path(), "/e").unwrap(),
            base.clone().max_fds(9),
            base.clone().network(Network::new().max_sockets(1)),
        ];
        for other in others {
            assert!(!base.grants_the_same(&other) && !other.grants_the_same(&base), "{other:?}");
        }
    }
}
