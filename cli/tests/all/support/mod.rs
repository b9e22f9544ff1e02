//! What the tests of the command share: the binary, a server, guests.

pub(crate) mod composed;
#[cfg(feature = "wasmtime-component")]
pub(crate) mod middleware;
pub(crate) mod random;
pub(crate) mod registry;
pub(crate) mod served;
pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The backends that this build of the command has.
pub(crate) fn backends() -> Vec<&'static str> {
    wharf::backends().collect()
}

/// `wharf` with these arguments, without the caller's settings and without their cache: the one that was built, or the one
/// that `WHARF_BIN` names.
pub(crate) fn wharf(args: &[&str]) -> Command {
    let built = env!("CARGO_BIN_EXE_wharf").into();
    let mut command = Command::new(std::env::var_os("WHARF_BIN").unwrap_or(built));
    command.args(args).env_remove("WHARF_BACKEND").env("NO_COLOR", "1").env("XDG_CACHE_HOME", CACHE_HOME);
    command
}

/// What the tests have for the user's cache directory.
const CACHE_HOME: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");

/// The same command under a limit, as the shell's `ulimit` takes it.
pub(crate) fn limited(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!(r#"ulimit {limit} && exec "$0" "$@""#)]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

/// What a command printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end. That it warns of a long compilation says something about the machine only: that is left out.
pub(crate) fn end(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    let lines = text(stderr);
    let told = lines.split_inclusive('\n').filter(|line| !line.starts_with("wharf: warning: compiling "));
    Ended { code: status.code(), out: text(stdout), err: told.collect() }
}

/// Files for one test.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Files(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.path().join(name);
        std::fs::write(&path, bytes).expect("the file is written");
        path.into_os_string().into_string().expect("the path is UTF-8")
    }

    /// Assembles a module.
    pub(crate) fn wat(&self, name: &str, text: &str) -> String {
        self.write(name, wat::parse_str(text).expect("the text assembles"))
    }

    /// The guest `fetch` of the suite.
    pub(crate) fn fetch(&self) -> String {
        self.write("fetch.wasm", wharf_guests::FETCH.wasm().expect("the guest is there"))
    }
}

/// A command that does nothing, with these fields.
pub(crate) fn command_with(fields: &str) -> String {
    format!(r#"(module {fields} (memory (export "memory") 1) (func (export "_start")))"#)
}
