//! What goes wrong with the engine.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::raw::Failure;

/// Why the engine could not be set up, or could not compile, load or instantiate a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// WasmEdge's library, which is opened when it is used for the first time, is not where it is looked for, or something
    /// that it needs is not there.
    #[error(
        "the library `{name}` cannot be opened: install WasmEdge 0.17, or start the program with the library's directory in \
         `LD_LIBRARY_PATH` (looked in {}, and among the system's installed libraries)",
        Directories(searched)
    )]
    NoLibrary {
        /// Its file name.
        name: String,
        /// The directories in which it was looked for.
        searched: Vec<PathBuf>,
        /// What the system says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The library that was found is of another version.
    #[error("the library `{name}` is not WasmEdge 0.17's: {why}")]
    OtherLibrary {
        /// Its file name.
        name: String,
        /// How that was noticed.
        why: String,
    },
    /// The engine ran out of memory, or says so.
    #[error("WasmEdge could not allocate an object")]
    Allocation,
    /// The engine refused the module, or trapped when it placed the module's segments.
    #[error("WasmEdge refused the module")]
    Refused(#[source] Failure),
    /// The engine only accepts modules of less than 4 GiB.
    #[error("the module is too large for WasmEdge: 4 GiB or more")]
    TooLarge,
    /// The code was compiled by another version, for another processor, or is damaged.
    #[error("WasmEdge cannot use the compiled code")]
    UselessCode,
    /// The operating system refused something.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The compiler's process could not be started.
    #[error("the compiler `{}` cannot be started", program.display())]
    NoCompiler {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The compiler's process failed: it refused the module, crashed, was killed, or ran out of memory.
    #[error("the compiler failed ({status}){words}")]
    Compiler {
        /// How it ended.
        status: ExitStatus,
        /// The first line that it wrote to its standard error, after `: `; empty if there is none.
        words: String,
    },
    /// The compiler's process took too long and was killed.
    #[error("the compiler took longer than {} s and was ended; interpret the module, or allow more time", .0.as_secs_f32())]
    CompilerTime(Duration),
    /// The compiler wrote no code, or part of it.
    #[error("the compiler left no complete code")]
    Incomplete,
    /// The directory for temporary files has too little space for the compiler, or the process may not write files as large.
    #[error(
        "the compiler needs {} KiB in the directory for temporary files, `{}`, and cannot have them: free some space, or \
         name another directory in `TMPDIR`",
        bytes.div_ceil(1024),
        directory.display()
    )]
    NoSpace {
        /// The directory for temporary files.
        directory: PathBuf,
        /// How much space is asked for, in bytes; compiling takes less.
        bytes: u64,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The compiler's process was started by another version of this crate.
    #[error("the compiler is {there}, and the module is for {here}")]
    Version {
        /// The process's version.
        there: String,
        /// The version that it was asked for.
        here: String,
    },
}

/// Displays a list of directories.
struct Directories<'a>(&'a [PathBuf]);

impl fmt::Display for Directories<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for directory in self.0 {
            write!(f, "{between}`{}`", directory.display())?;
            between = ", ";
        }
        Ok(())
    }
}

impl Error {
    /// Wraps an error of the operating system.
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::System { what, source }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Refused(failure)
    }
}
