//! The compiler in a process of its own: both sides.
//!
//! The one side writes the module into a directory of its own and starts the helper, which writes the code beside it. The
//! directory is the helper's standard output, so that it is found there even if another took its place.
//! The helper bounds its own memory and ends when the pipe at its standard input is closed, which the operating system
//! does however the other side ends.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::compiler::{self, CODE};
use crate::error::Error;
use crate::scratch::Scratch;

/// How long a helper may take, if nothing else is said.
const TIME: Duration = Duration::from_secs(600);
/// How much memory a helper may map, if nothing else is said, in bytes.
const MEMORY: u64 = 16 << 30;
/// How a helper is told to optimise.
const OPTIMISES: &str = "optimise";
/// How large a file a helper may write, in bytes. Code is a few times as large as its module.
const FILE: u64 = 4 << 30;
/// How often is looked whether a helper has ended: at first, and at most.
const LOOK: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];
/// How much of what a helper says is read, in bytes, and how much is told, in characters.
const WORDS: (u64, usize) = (4096, 200);

/// A program that calls [`run_helper`], to compile in a separate process.
///
/// What it writes is executed as it stands, so that only an `unsafe fn` names one:
///
/// ```compile_fail,E0133
/// let forger = wharf_wasmedge_engine::Helper::new("/usr/bin/forger", [""; 0]);
/// ```
#[derive(Debug, Clone)]
pub struct Helper {
    program: PathBuf,
    arguments: Vec<OsString>,
    time: Duration,
    memory: u64,
}

impl Helper {
    /// The program at `program`, which calls [`run_helper`] with all that follows `arguments` in its arguments. It has
    /// to be built with the same version of this crate. It writes to its standard error only: its standard output is a
    /// directory.
    ///
    /// # Safety
    /// The program does nothing with these arguments but to call `run_helper`, and nobody can put another in its place who
    /// may not run code in this process.
    pub unsafe fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item: Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Helper { program: program.into(), arguments, time: TIME, memory: MEMORY }
    }

    /// Bounds the time that one compilation takes; ten minutes by default.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Bounds the memory that one compilation maps, in bytes; 16 GiB by default, of which it uses a part.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes;
        self
    }

    pub(crate) fn compile(&self, wasm: &[u8], scratch: &Scratch, optimises: bool) -> Result<(), Error> {
        let [module, said] = ["module.wasm", "said"];
        let failed = Error::system("the module for the compiler cannot be written");
        fs::write(scratch.path(module), wasm).map_err(failed)?;
        let failed = || Error::system("cannot create a file for the compiler's messages");
        let stderr = File::create(scratch.path(said)).map_err(failed())?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(compiler::version()?).arg(self.memory.to_string());
        command.args([module, CODE].map(|name| scratch.path_of_output(name)));
        command.arg(if optimises { OPTIMISES } else { "baseline" });
        command.stdin(Stdio::piped()).stdout(scratch.as_output().map_err(failed())?).stderr(stderr);
        let child = command.spawn().map_err(|source| Error::NoCompiler { program: self.program.clone(), source })?;
        match Running(child).wait(self.time)? {
            status if status.success() => Ok(()),
            status => Err(Error::Compiler { status, words: first_line(&scratch.path(said)) }),
        }
    }
}

/// A helper, which is killed if it is no longer waited for.
struct Running(Child);

impl Running {
    fn wait(&mut self, time: Duration) -> Result<ExitStatus, Error> {
        let (started, [mut pause, longest]) = (Instant::now(), LOOK);
        loop {
            if let Some(status) = self.0.try_wait().map_err(Error::system("the compiler cannot be waited for"))? {
                return Ok(status);
            }
            if started.elapsed() >= time {
                return Err(Error::CompilerTime(time));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for one that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first line that was said, as it fits on a line of an error, after a colon.
fn first_line(said: &Path) -> String {
    let mut bytes = Vec::new();
    // What cannot be read was not said.
    let _ = File::open(said).and_then(|file| file.take(WORDS.0).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let printable = line.trim_start_matches("error: ").chars().filter(|char| !char.is_control()).take(WORDS.1);
    if line.is_empty() { String::new() } else { [": "].into_iter().flat_map(str::chars).chain(printable).collect() }
}

/// Compiles one module as the process that started this one says in `arguments`, which are those after
/// [`Helper::new`]'s. To be called early in a program that does nothing else then: it bounds the process's memory and
/// file sizes, and ends it when its standard input is closed.
///
/// # Errors
/// [`Error::Version`] if the process was started by another version of this crate, or without arguments; else the same
/// as for the compiler in this process. To be printed in one line, with its sources, on standard error.
pub fn run_helper(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().unwrap_or_default();
    let (version, memory, module, code) = (next(), next(), PathBuf::from(next()), PathBuf::from(next()));
    let optimises = next() == OPTIMISES;
    let ours = compiler::version()?;
    if version != ours {
        let [there, here] = [ours, version].map(|version| version.to_string_lossy().into_owned());
        return Err(Error::Version { there, here });
    }
    let memory = memory.to_str().and_then(|memory| memory.parse().ok()).unwrap_or(MEMORY);
    for (resource, limit) in [(libc::RLIMIT_CORE, 0), (libc::RLIMIT_FSIZE, FILE), (libc::RLIMIT_AS, memory)] {
        let mut lower = libc::rlimit { rlim_cur: limit, rlim_max: limit };
        // SAFETY: the calls write and read the value. Limits that there are stay if they are lower.
        unsafe {
            libc::getrlimit(resource, &raw mut lower);
            (lower.rlim_cur, lower.rlim_max) = (lower.rlim_cur.min(limit), lower.rlim_max.min(limit));
            libc::setrlimit(resource, &raw const lower);
        }
    }
    let watch = thread::Builder::new().name("wasmedge-watch".to_owned()).spawn(|| {
        // Nothing is written to the pipe: reading ends with the process that holds it.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(1);
    });
    watch.map_err(Error::system("cannot start the thread that watches the parent process"))?;
    let wasm = fs::read(&module).map_err(Error::system("the module for the compiler cannot be read"))?;
    compiler::compile(&wasm, &code, optimises)
}
