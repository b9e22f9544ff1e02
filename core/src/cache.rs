//! What takes long to make, kept between loads: compiled code, and what else is made of a guest's bytes.
//!
//! An entry is named by the digest of all that shaped it; for compiled code that is the prepared module, the backend, its
//! engine's version and its code key, and the sources here that rewrite modules. It begins with the digest of these and its content, so that an entry that is cut
//! short, damaged or another's is made anew instead of being used. Entries are trusted as far as the directory is: it is
//! made for its owner only.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result, chain};
use crate::prepare::Prepared;
use crate::seam::{Backend, Module};
use crate::trusted::TrustedCode;

/// The sources that rewrite modules: part of the key of compiled code.
const REWRITES: &str = env!("WHARF_CORE_REWRITES");

const DIGEST: usize = 32;

/// The most bytes an entry may have, whoever wrote it.
const MAX_ENTRY: u64 = 2 << 30;

/// What every digest begins with, so that what anybody may keep is never taken for what an engine executes.
const DATA: &[u8] = b"data";
const CODE: &[u8] = b"code";

/// A SHA-256.
type Sha = [u8; DIGEST];

/// A directory of what was made of guests: compiled modules, and flattened components.
#[derive(Debug)]
pub struct CodeCache {
    directory: PathBuf,
}

/// What an entry is, and the digest of all that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey {
    file: String,
    digest: Sha,
}

impl CacheKey {
    /// Names the entry of this `kind` that was made of `parts`: every byte that may change what is made, and the version
    /// of what makes it. Of two keys that differ in any of these, neither finds the other's entry.
    ///
    /// Files begin with the kind, which is a plain word.
    pub fn new(kind: &str, parts: &[&[u8]]) -> Self {
        Self::of(DATA, kind, parts)
    }

    fn of(sort: &[u8], kind: &str, parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in [&[sort, kind.as_bytes()], parts].concat() {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest: Sha = digest.finalize().into();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        CacheKey { file: format!("{kind}-{hex}.bin"), digest }
    }
}

/// The same of compiled code: neither sort of key finds an entry of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeKey(CacheKey);

impl CodeKey {
    /// Names the code that `engine` made of `parts`, as [`CacheKey::new`] has it.
    pub fn new(engine: &str, parts: &[&[u8]]) -> Self {
        CodeKey(CacheKey::of(CODE, engine, parts))
    }

    fn of(backend: &dyn Backend, prepared: &Prepared) -> Self {
        let info = backend.info();
        let (version, code) = (info.engine_version.as_bytes(), info.code_key.as_bytes());
        Self::new(info.name, &[version, code, REWRITES.as_bytes(), prepared.wasm()])
    }
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

    /// What is kept under `key`. An entry that is damaged, too large, or was kept under another key is none.
    pub fn get(&self, key: &CacheKey) -> Option<Vec<u8>> {
        let path = self.path(key);
        let content = read(&path, key);
        match &content {
            Ok(_) => tracing::debug!(path = %path.display(), "found in the cache"),
            Err(Miss::None) => {}
            Err(Miss::Unusable(why)) => tracing::warn!(path = %path.display(), "a cache entry is not used: {why}"),
        }
        content.ok()
    }

    /// Keeps `content` under `key`, in the place of what was kept there before. Who reads meanwhile gets the one or the other.
    ///
    /// # Errors
    /// [`Kind::Limit`] if it is too large to be kept, [`Kind::Config`] if the directory cannot be written.
    pub fn put(&self, key: &CacheKey, content: &[u8]) -> Result<()> {
        if content.len() as u64 > MAX_ENTRY - DIGEST as u64 {
            let message = format!("{} bytes are more than an entry of the cache may have", content.len());
            return Err(Error::new(Kind::Limit, message));
        }
        self.write(key, content).map_err(|error| {
            let message = format!("the cache directory `{}` cannot be written", self.directory.display());
            Error::new(Kind::Config, message).with_source(error)
        })
    }

    /// The code that is kept under `key`, trusted as far as the directory is; otherwise as [`get`](Self::get).
    #[expect(unsafe_code, reason = "the promise is that of whoever had the code kept")]
    pub fn code(&self, key: &CodeKey) -> Option<TrustedCode<'static>> {
        // SAFETY: an entry of this sort is written by `compile` and `fill`, of what the engine that the key names
        // made of what it names, and by `put_code`, whose caller promises the same; its digest says that it is unchanged.
        self.get(&key.0).map(|code| unsafe { TrustedCode::new(code) })
    }

    /// Keeps code under `key`, as [`put`](Self::put) does.
    ///
    /// # Errors
    /// As `put`.
    ///
    /// # Safety
    /// The engine of `key` made the code of what `key` names.
    #[expect(unsafe_code, reason = "which engine made the code, and of what, cannot be checked, only promised")]
    pub unsafe fn put_code(&self, key: &CodeKey, code: &TrustedCode<'_>) -> Result<()> {
        self.put(&key.0, code.bytes())
    }

    /// Loads the module's code from the cache, or compiles it and stores the code.
    ///
    /// A cache that cannot be written is logged and costs a compilation, nothing more.
    ///
    /// # Errors
    /// What [`Backend::compile`] reports.
    pub(crate) fn compile(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<Arc<dyn Module>> {
        let key = CodeKey::of(backend, prepared);
        if let Some(code) = self.code(&key) {
            match backend.load(prepared, code) {
                Ok(module) => return Ok(module),
                Err(error) => tracing::warn!(%error, "cached code was refused; compiling anew"),
            }
        }
        let module = backend.compile(prepared)?;
        match module.serialize() {
            Ok(Some(code)) => {
                if let Err(error) = self.put(&key.0, code.bytes()) {
                    tracing::warn!("compiled code is not kept: {}", chain(&error));
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
    /// What [`Backend::compile`] and [`put`](Self::put) report; [`Kind::Unsupported`] if the backend has no code of this
    /// module to give.
    pub fn fill(&self, backend: &dyn Backend, prepared: &Prepared) -> Result<()> {
        let name = backend.info().name;
        let key = CodeKey::of(backend, prepared);
        if self.code(&key).is_some() {
            return Ok(());
        }
        let module = backend.compile(prepared)?;
        let Some(code) = module.serialize()? else {
            let message = format!("the backend {name} has no compiled code of this module: there is nothing to keep");
            return Err(Error::new(Kind::Unsupported, message));
        };
        self.put(&key.0, code.bytes())
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.directory.join(&key.file)
    }

    fn write(&self, key: &CacheKey, content: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&seal(key, content))?;
        file.write_all(content)?;
        file.persist(self.path(key))?;
        Ok(())
    }
}

/// What an entry begins with: it binds the content to what it was made of, so that no entry stands for another.
fn seal(key: &CacheKey, content: &[u8]) -> Sha {
    Sha256::new().chain_update(key.digest).chain_update(content).finalize().into()
}

/// Why there is nothing to use.
enum Miss {
    None,
    Unusable(String),
}

impl From<std::io::Error> for Miss {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::NotFound { Miss::None } else { Miss::Unusable(error.to_string()) }
    }
}

fn read(path: &Path, key: &CacheKey) -> Result<Vec<u8>, Miss> {
    // Looked at before it is opened: opening something else than a file may wait for ever.
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > MAX_ENTRY {
        return Err(Miss::Unusable("it is no file, or too large to be an entry".to_owned()));
    }
    let damaged = || Miss::Unusable("it is damaged, or another's".to_owned());
    let mut file = File::open(path)?;
    let mut sealed = [0; DIGEST];
    file.read_exact(&mut sealed).map_err(|_| damaged())?;
    let mut content = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    file.take(MAX_ENTRY).read_to_end(&mut content)?;
    if sealed == seal(key, &content) { Ok(content) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_key_counts() {
        let key = CacheKey::new("thing", &[b"ab", b"c"]);
        assert_eq!(key, CacheKey::new("thing", &[b"ab", b"c"]));
        for other in [
            CacheKey::new("other", &[b"ab", b"c"]),
            CacheKey::new("thing", &[b"a", b"bc"]),
            CacheKey::new("thing", &[b"ab", b"d"]),
            CacheKey::new("thing", &[b"ab", b"c", b""]),
        ] {
            assert_ne!(key, other);
        }
    }

    #[test]
    fn what_is_kept_is_found_under_its_key_only() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path()).unwrap();
        let [one, two] = [b"1", b"2"].map(|version| CacheKey::new("thing", &[version, b"made of this"]));
        assert_eq!(cache.get(&one), None);
        cache.put(&one, b"content").unwrap();
        assert_eq!(cache.get(&one).as_deref(), Some(&b"content"[..]));
        assert_eq!(cache.get(&two), None, "another version");
        // An entry that is moved to where another is looked for is not taken for it.
        fs::rename(cache.path(&one), cache.path(&two)).unwrap();
        assert_eq!((cache.get(&one), cache.get(&two)), (None, None));
        cache.put(&two, b"").unwrap();
        assert_eq!(cache.get(&two).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_no_entry_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(directory.path()).unwrap();
        let key = CacheKey::new("thing", &[b"made of this"]);
        let path = cache.path(&key);
        cache.put(&key, b"content").unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert_eq!(cache.get(&key), None, "byte {at} is another");
            fs::write(&path, &good[..at]).unwrap();
            assert_eq!(cache.get(&key), None, "it ends at byte {at}");
        }
        fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert_eq!(cache.get(&key), None, "it has a byte more");
        // As large as no memory is, and none of it on the disk.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(cache.get(&key), None, "it is too large");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(cache.get(&key), None, "it is a directory");
    }
}
