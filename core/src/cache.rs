//! Compiled code, kept between loads.
//!
//! An entry is named by the digest of all that shaped it: the prepared module, the backend, its engine's version and
//! its code key. It begins with the digest of these and its code, so that an entry that is cut short, damaged or another
//! module's is compiled anew instead of being run. Entries are trusted as far as the directory is: it is made for its owner only.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::meter;
use crate::prepare::Prepared;
use crate::seam::{Backend, Module};

const DIGEST: usize = 32;

/// A directory of compiled modules.
#[derive(Debug)]
pub struct CodeCache {
    directory: PathBuf,
}

impl CodeCache {
    /// Uses `directory`, which is made, readable by its owner only, if it is missing.
    ///
    /// # Errors
    /// [`Kind::Config`] if it cannot be made, or others than its owner may write to it.
    pub fn open(directory: &Path) -> Result<Self> {
        let unusable = |error: std::io::Error| {
            Error::new(Kind::Config, format!("the cache directory `{}` cannot be used", directory.display()))
                .with_source(error)
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory).map_err(unusable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(directory).map_err(unusable)?.permissions().mode();
            if mode & 0o022 != 0 {
                return Err(Error::new(
                    Kind::Config,
                    format!(
                        "the cache directory `{}` may be written by others, who could then have their code run; \
                         use `chmod go-w` on it or choose another",
                        directory.display()
                    ),
                ));
            }
        }
        Ok(CodeCache { directory: directory.to_owned() })
    }

    /// Loads the module's code from the cache, or compiles it and stores the code.
    ///
    /// A cache that cannot be written is logged and costs a compilation, nothing more.
    ///
    /// # Errors
    /// What [`Backend::compile`] reports.
    pub(crate) fn compile(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        let (path, key) = self.entry(backend, prepared);
        if let Some(code) = read(&path, &key) {
            match backend.load(prepared.wasm(), &code) {
                Ok(module) => return Ok(module),
                Err(error) => tracing::warn!(path = %path.display(), %error, "cached code was refused; compiling anew"),
            }
        }
        let module = backend.compile(prepared.wasm())?;
        match module.serialize() {
            Ok(Some(code)) => {
                if let Err(error) = self.write(&path, &key, &code) {
                    tracing::warn!(path = %path.display(), %error, "compiled code could not be cached");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the engine could not serialize its code"),
        }
        Ok(module)
    }

    /// Compiles the module, unless its code is in the cache, and sees to it that it is: to prepare the cache.
    ///
    /// # Errors
    /// What [`Backend::compile`] reports; [`Kind::Unsupported`] if the backend has no code of this module to give, and
    /// [`Kind::Config`] if the cache cannot be written.
    pub fn fill(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<()> {
        let name = backend.info().name;
        let (path, key) = self.entry(backend, prepared);
        if read(&path, &key).is_some() {
            return Ok(());
        }
        let Some(code) = backend.compile(prepared.wasm())?.serialize()? else {
            let message = format!("the backend {name} has no compiled code of this module: there is nothing to keep");
            return Err(Error::new(Kind::Unsupported, message));
        };
        self.write(&path, &key, &code).map_err(|error| {
            let message = format!("the cache directory `{}` cannot be written", self.directory.display());
            Error::new(Kind::Config, message).with_source(error)
        })
    }

    /// Where the module's code is kept, and its key.
    fn entry(&self, backend: &dyn Backend, prepared: &Prepared) -> (PathBuf, Key) {
        let key = key(backend, prepared);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        (self.directory.join(format!("{}-{hex}.bin", backend.info().name)), key)
    }

    fn write(&self, path: &Path, key: &Key, code: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&seal(key, code))?;
        file.write_all(code)?;
        file.persist(path)?;
        Ok(())
    }
}

/// The digest of all that compiled code depends on.
type Key = [u8; DIGEST];

fn key(backend: &dyn Backend, prepared: &Prepared) -> Key {
    let info = backend.info();
    let mut digest = Sha256::new();
    for part in [info.name, info.engine_version.as_str(), info.code_key.as_str()] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.update(meter::VERSION.to_le_bytes());
    digest.update(prepared.wasm());
    digest.finalize().into()
}

/// What an entry begins with: it binds the code to what it was compiled from, so that no entry stands for another.
fn seal(key: &Key, code: &[u8]) -> Key {
    Sha256::new().chain_update(key).chain_update(code).finalize().into()
}

fn read(path: &Path, key: &Key) -> Option<Vec<u8>> {
    let mut bytes = fs::read(path).ok()?;
    if bytes.len() < DIGEST {
        return None;
    }
    let code = bytes.split_off(DIGEST);
    (bytes == seal(key, &code)).then_some(code)
}
