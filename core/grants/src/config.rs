//! What an embedder grants a guest.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::error::GrantError;
use crate::network::Network;
use crate::stdio::{Input, Output};

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
#[derive(Clone, Default)]
pub struct WasiConfig {
    granted: Granted,
    /// How many bytes arguments and environment take, terminators included.
    strings: usize,
}

/// What a [`WasiConfig`] grants, for a host: valid, as it was granted.
#[derive(Clone)]
#[non_exhaustive]
pub struct Granted {
    /// The arguments, without NUL bytes.
    pub args: Arc<Vec<String>>,
    /// The environment, as `NAME=value`, without NUL bytes.
    pub env: Arc<Vec<String>>,
    /// The directories.
    pub directories: Arc<Vec<Directory>>,
    /// Where standard input comes from.
    pub stdin: Input,
    /// Where standard output goes.
    pub stdout: Output,
    /// Where standard error goes.
    pub stderr: Output,
    /// How many file descriptors the guest may have open, sockets not counted.
    pub max_fds: usize,
    /// What it may do with sockets.
    pub network: Network,
}

/// A directory that a guest finds open when it starts.
#[derive(Clone)]
#[non_exhaustive]
pub struct Directory {
    /// The directory, open.
    pub dir: Arc<Dir>,
    /// Where it is.
    pub host: Arc<Path>,
    /// The guest's name for it.
    pub guest: Arc<str>,
    /// Whether it may be written.
    pub writable: bool,
}

impl Default for Granted {
    fn default() -> Self {
        Granted {
            args: Arc::default(),
            env: Arc::default(),
            directories: Arc::default(),
            stdin: Input::default(),
            stdout: Output::default(),
            stderr: Output::default(),
            max_fds: DEFAULT_MAX_FDS,
            network: Network::default(),
        }
    }
}

impl Granted {
    /// The environment: names and values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|entry| entry.split_once('='))
    }
}

impl WasiConfig {
    /// Grants nothing; the same as the default.
    pub fn new() -> Self {
        WasiConfig::default()
    }

    /// What it grants.
    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    /// Appends an argument. The first is, by custom, the program's name.
    ///
    /// # Errors
    /// [`GrantError`] if it holds a NUL byte, or if arguments and environment grow beyond [`MAX_STRINGS`].
    pub fn arg(mut self, arg: impl Into<String>) -> Result<Self, GrantError> {
        let arg = arg.into();
        self.admit(&arg, || format!("argument {}", self.granted.args.len()))?;
        self.strings += arg.len() + 1;
        Arc::make_mut(&mut self.granted.args).push(arg);
        Ok(self)
    }

    /// Appends arguments.
    ///
    /// # Errors
    /// As [`arg`](WasiConfig::arg).
    pub fn args<S: Into<String>>(self, args: impl IntoIterator<Item = S>) -> Result<Self, GrantError> {
        args.into_iter().try_fold(self, WasiConfig::arg)
    }

    /// Sets an environment variable, in place of an earlier one of that name.
    ///
    /// # Errors
    /// [`GrantError`] if the name is empty or holds `=`, if either holds a NUL byte, or if arguments and
    /// environment grow beyond [`MAX_STRINGS`].
    pub fn env(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<Self, GrantError> {
        let name = name.as_ref();
        if name.is_empty() || name.contains('=') {
            return Err(GrantError::VariableName { name: name.to_owned() });
        }
        let prefix = format!("{name}=");
        if let Some(at) = self.granted.env.iter().position(|entry| entry.starts_with(&prefix)) {
            self.strings -= Arc::make_mut(&mut self.granted.env).remove(at).len() + 1;
        }
        let entry = prefix + value.as_ref();
        self.admit(&entry, || format!("environment variable {name:?}"))?;
        self.strings += entry.len() + 1;
        Arc::make_mut(&mut self.granted.env).push(entry);
        Ok(self)
    }

    /// Grants the host directory `host`, to be read and written, under the name `guest`.
    ///
    /// # Errors
    /// [`GrantError`] if it cannot be opened as a directory, or if `guest` is empty or holds a NUL byte.
    pub fn preopen(self, host: impl AsRef<Path>, guest: &str) -> Result<Self, GrantError> {
        self.grant(host.as_ref(), guest, true)
    }

    /// Grants the host directory `host`, to be read only, under the name `guest`.
    ///
    /// # Errors
    /// As [`preopen`](WasiConfig::preopen).
    pub fn preopen_read_only(self, host: impl AsRef<Path>, guest: &str) -> Result<Self, GrantError> {
        self.grant(host.as_ref(), guest, false)
    }

    /// Sets standard input.
    pub fn stdin(mut self, input: Input) -> Self {
        self.granted.stdin = input;
        self
    }

    /// Sets standard output.
    pub fn stdout(mut self, output: Output) -> Self {
        self.granted.stdout = output;
        self
    }

    /// Sets standard error.
    pub fn stderr(mut self, output: Output) -> Self {
        self.granted.stderr = output;
        self
    }

    /// Sets what the guest may do with sockets.
    pub fn network(mut self, network: Network) -> Self {
        self.granted.network = network;
        self
    }

    /// Sets how many file descriptors the guest may have open at once, sockets not counted: [`Network::max_sockets`]
    /// counts those. The three standard streams and the granted directories count, and are there in any case.
    pub fn max_fds(mut self, limit: usize) -> Self {
        self.granted.max_fds = limit;
        self
    }

    /// Whether a guest that was granted `self` has nothing that `other` does not grant, and lacks nothing: they differ in
    /// the standard streams at most.
    pub fn grants_the_same(&self, other: &WasiConfig) -> bool {
        let same = |own: &Directory, other: &Directory| {
            Arc::ptr_eq(&own.dir, &other.dir) && own.guest == other.guest && own.writable == other.writable
        };
        (Arc::ptr_eq(&self.granted.args, &other.granted.args) || self.granted.args == other.granted.args)
            && (Arc::ptr_eq(&self.granted.env, &other.granted.env) || self.granted.env == other.granted.env)
            && self.granted.directories.len() == other.granted.directories.len()
            && self.granted.directories.iter().zip(&*other.granted.directories).all(|(own, other)| same(own, other))
            && self.granted.max_fds == other.granted.max_fds
            && self.granted.network.grants_the_same(&other.granted.network)
    }

    fn admit(&self, entry: &str, what: impl FnOnce() -> String) -> Result<(), GrantError> {
        if let Some(at) = entry.find('\0') {
            return Err(GrantError::Nul { what: what(), at });
        }
        if self.strings + entry.len() + 1 > MAX_STRINGS {
            return Err(GrantError::TooLong { what: what(), limit: MAX_STRINGS });
        }
        Ok(())
    }

    fn grant(mut self, host: &Path, guest: &str, writable: bool) -> Result<Self, GrantError> {
        if guest.is_empty() || guest.contains('\0') {
            return Err(GrantError::DirectoryName { guest: guest.to_owned(), host: host.to_owned() });
        }
        let unusable = |source| GrantError::Directory { host: host.to_owned(), source };
        let dir = Dir::open_ambient_dir(host, ambient_authority()).map_err(unusable)?;
        // Opening asks for less than reading, so a directory that cannot be read would only fail in the guest.
        dir.entries().map_err(unusable)?;
        let directory = Directory { dir: Arc::new(dir), host: host.into(), guest: guest.into(), writable };
        Arc::make_mut(&mut self.granted.directories).push(directory);
        Ok(self)
    }
}

impl fmt::Debug for WasiConfig {
    /// Leaves out the environment's values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.granted.env.iter().map(|entry| entry.split('=').next().unwrap_or_default());
        f.debug_struct("WasiConfig")
            .field("args", &self.granted.args)
            .field("env", &names.collect::<Vec<_>>())
            .field("preopens", &self.granted.directories.iter().map(|directory| &*directory.guest).collect::<Vec<_>>())
            .field("stdin", &self.granted.stdin)
            .field("stdout", &self.granted.stdout)
            .field("stderr", &self.granted.stderr)
            .field("max_fds", &self.granted.max_fds)
            .field("network", &self.granted.network)
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
        let policy = |origin| Arc::new(wharf_http::Policy::builder().allow(origin).unwrap().build());
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

    #[test]
    fn what_cannot_be_passed_is_refused_when_configured() {
        let refused = |result: Result<WasiConfig, GrantError>, says: &str| {
            let error = result.unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        };
        refused(WasiConfig::new().arg("a\0b"), "argument 0 has a NUL byte at offset 1");
        refused(WasiConfig::new().args(["a", "b\0"]), "argument 1");
        refused(WasiConfig::new().env("A", "\0"), "environment variable \"A\" has a NUL byte");
        refused(WasiConfig::new().env("A=B", "x"), "\"A=B\" is empty or contains '='");
        refused(WasiConfig::new().env("", "x"), "is empty");
        let half = "x".repeat(MAX_STRINGS / 2);
        refused(WasiConfig::new().arg(half.clone()).unwrap().env("A", &half), "larger than 1048576 bytes");
        // A variable that is replaced no longer counts.
        WasiConfig::new().env("A", &half).unwrap().env("A", &half).unwrap().env("A", &half).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_granted_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (host, guest) in
            [(file.as_path(), "/"), (&dir.path().join("missing"), "/"), (dir.path(), ""), (dir.path(), "\0")]
        {
            let error = WasiConfig::new().preopen(host, guest).unwrap_err();
            assert!(error.to_string().contains(host.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn debug_output_shows_no_values_of_the_environment() {
        let config = WasiConfig::new().env("TOKEN", "secret").unwrap();
        let text = format!("{config:?}");
        assert!(text.contains("TOKEN") && !text.contains("secret"), "{text}");
    }
}
