//! `wharf push` and `wharf pull`, and guests that are images in a registry.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use wharf::core::{CacheKey, CodeCache, LoadOptions, chain};
use wharf_image::{Client, ClientOptions, Digest, DockerConfig, Pulled, Reference, Store};

use crate::args::{ImageArgs, PullArgs, PushArgs, RegistryArgs, Usage};
use crate::commands::{package, read_module};
use crate::console::Console;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::{exit, output};

/// What pulled guests are kept as.
const KIND: &str = "image";

pub(crate) fn push(args: &PushArgs, console: Console) -> anyhow::Result<u8> {
    let image = package::build(&args.content, &args.file)?;
    let client = client(&args.registry, LoadOptions::default().max_module_bytes);
    let progress = Progress::start(console, &format!("pushing {}", args.image));
    let pushed = wait(client.push(&args.image, &image))?;
    let digest = pushed.with_context(|| format!("cannot push {}", args.image))?;
    drop(progress);
    output::print(&format!("{}\n", args.image.pinned(digest)))?;
    Ok(exit::SUCCESS)
}

pub(crate) fn pull(args: &PullArgs, console: Console) -> anyhow::Result<u8> {
    let pulled = pulled(&args.image, &args.images, LoadOptions::default().max_module_bytes, None, console)?;
    pulled.write(&args.out)?;
    output::print(&format!("{}\n", args.image.pinned(pulled.digest)))?;
    Ok(exit::SUCCESS)
}

/// Reads the guest `path` of at most `limit` bytes and one more: a file, or an image in a registry, which may be kept.
pub(super) fn guest(
    path: &Path,
    limit: u64,
    images: &ImageArgs,
    cache: Option<&Arc<CodeCache>>,
    console: Console,
) -> anyhow::Result<Vec<u8>> {
    match path.to_str().filter(|text| Reference::is_meant(text)) {
        Some(text) => {
            let reference: Reference = text.parse().map_err(|error| Usage(format!("{error}")))?;
            let pulled = pulled(&reference, images, limit, cache, console)?;
            tracing::info!("{reference} is {}", pulled.digest);
            Ok(pulled.wasm.into())
        }
        None if images.verify.is_empty() => read_module(path, limit),
        None => {
            let message = format!("--verify is for images (oci://...), and `{}` is a file", path.display());
            Err(Usage(message).into())
        }
    }
}

fn pulled(
    reference: &Reference,
    images: &ImageArgs,
    limit: u64,
    cache: Option<&Arc<CodeCache>>,
    console: Console,
) -> anyhow::Result<Pulled> {
    let client = client(&images.registry, limit);
    let kept = cache.map(|cache| Kept(cache.clone()));
    let _progress = Progress::start(console, &format!("pulling {reference}"));
    let store = kept.as_ref().map(|kept| kept as &dyn Store);
    let pulled = wait(client.pull(reference, &images.verify, store))?;
    pulled.with_context(|| format!("cannot pull {reference}"))
}

fn client(args: &RegistryArgs, limit: u64) -> Client {
    let mut options = ClientOptions::default();
    options.plain_http = args.plain_http;
    options.credentials = DockerConfig::of_user();
    options.timeout = args.registry_timeout;
    options.max_guest_bytes = limit;
    Client::new(options)
}

fn wait<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start what waits for registries")?;
    Ok(Signals::listen()?.wait(&runtime, future)?)
}

/// Guests by the digest of their image, kept beside compiled code: nobody else can have written what is found there.
struct Kept(Arc<CodeCache>);

impl Kept {
    fn key(digest: &Digest) -> wharf::core::Result<CacheKey> {
        // Which manifest of an index is taken depends on the architecture.
        CacheKey::new(KIND, &[digest.to_string().as_bytes(), std::env::consts::ARCH.as_bytes()])
    }
}

impl Store for Kept {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.0.get(&Kept::key(digest).ok()?)
    }

    fn put(&self, digest: &Digest, wasm: &[u8]) {
        if let Err(error) = Kept::key(digest).and_then(|key| self.0.put(&key, wasm)) {
            tracing::warn!("the image {digest} is not kept: {}", chain(&error));
        }
    }
}
