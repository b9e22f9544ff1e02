//! What is served.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::TempDir;
use wharf_guests::{HELLO_HTTP, HELLO_HYPER, HTTP_JS, HTTP_PY, PrebuiltGuest, SERVICE_RUST};
use wit_component::ComponentEncoder;

use crate::args::Asked;

/// What can serve a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A component: every server of `wasi:http`.
    Component,
    /// A component of WASI 0.3, whose instances can work on several requests.
    Service,
    /// The core module of one: only wharf.
    Core,
    /// It listens by itself.
    Sockets,
}

/// Where a guest comes from.
#[derive(Debug, Clone)]
enum Source {
    /// One that wharf's suite runs.
    Prebuilt(PrebuiltGuest),
    /// The same, made a component with the published adapter, where it needs that.
    Wrapped(PrebuiltGuest),
    /// It is where it is.
    File,
}

/// A guest, and the file that it is in once it [was written](Guest::write).
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    source: Source,
}

impl Guest {
    /// Makes its file.
    ///
    /// # Errors
    /// If it is not built, which says how to build it.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let wasm = match &self.source {
            Source::Prebuilt(prebuilt) => prebuilt.wasm()?.into_owned(),
            Source::Wrapped(prebuilt) => {
                let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_PROXY_ADAPTER;
                let encoder = ComponentEncoder::default().module(&prebuilt.wasm()?)?;
                encoder.adapter("wasi_snapshot_preview1", adapter)?.encode()?
            }
            Source::File => return Ok(()),
        };
        fs::write(&self.path, wasm).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The guests that are asked for, in a directory of their own.
#[derive(Debug)]
pub(crate) struct Guests {
    pub(crate) directory: TempDir,
    pub(crate) all: Vec<Guest>,
}

impl Guests {
    /// # Errors
    /// If a name is not known, or there is no such file; if the [small component](Self::hello) cannot be made.
    pub(crate) fn new(asked: &[Asked]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let guest = |name: &str, kind, source| {
            let path = directory.path().join(name).with_extension("wasm");
            Guest { name: name.to_owned(), kind, path, source }
        };
        let known = [
            guest("hello", Kind::Component, Source::Wrapped(HELLO_HTTP)),
            guest("core", Kind::Core, Source::Prebuilt(HELLO_HTTP)),
            guest("js", Kind::Component, Source::Prebuilt(HTTP_JS)),
            guest("python", Kind::Component, Source::Prebuilt(HTTP_PY)),
            guest("sockets", Kind::Sockets, Source::Prebuilt(HELLO_HYPER)),
            guest("service", Kind::Service, Source::Wrapped(SERVICE_RUST)),
        ];
        // These are measured by themselves, too.
        for guest in known.iter().filter(|guest| ["hello", "service"].contains(&guest.name.as_str())) {
            guest.write()?;
        }
        let mut all = Vec::new();
        for asked in asked {
            all.push(match asked {
                Asked::Known(name) => match known.iter().find(|guest| guest.name == *name) {
                    Some(guest) => guest.clone(),
                    None => bail!(
                        "there is no guest `{name}`: there are {}; a file of yours is --guest {name}=FILE",
                        known.each_ref().map(|guest| guest.name.as_str()).join(", ")
                    ),
                },
                Asked::File(file) => {
                    let path = Path::new(&file.value);
                    let path = path.canonicalize().with_context(|| format!("the guest `{}`", path.display()))?;
                    Guest { name: file.name.clone(), kind: Kind::Component, path, source: Source::File }
                }
            });
        }
        if asked.is_empty() {
            all = known.to_vec();
        }
        Ok(Guests { directory, all })
    }

    /// The small component that is measured where the guest does not matter.
    pub(crate) fn hello(&self) -> PathBuf {
        self.directory.path().join("hello.wasm")
    }

    /// The service of WASI 0.3.
    pub(crate) fn service(&self) -> PathBuf {
        self.directory.path().join("service.wasm")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_known_or_files() {
        assert_eq!(Guests::new(&[]).unwrap().all.len(), 6);
        let error = Guests::new(&["ruby".parse().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("no guest `ruby`: there are hello, core, js, python, sockets, service"), "{error}");
        let error = Guests::new(&["mine=/nowhere".parse().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("`/nowhere`"), "{error}");
    }

    #[test]
    fn hello_is_a_component_and_a_core_module() {
        let guests = Guests::new(&["hello".parse().unwrap(), "core".parse().unwrap()]).unwrap();
        for (guest, layer) in guests.all.iter().zip([1, 0]) {
            guest.write().unwrap();
            let wasm = fs::read(&guest.path).unwrap();
            assert_eq!((&wasm[..4], wasm[6]), (b"\0asm".as_slice(), layer), "{}", guest.name);
        }
    }
}
