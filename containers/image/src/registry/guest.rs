//! Which guest an image has.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::session::Session;
use crate::digest::Digest;
use crate::error::{self, ImageError};
use crate::layers::{Found, Wanted};
use crate::limits::MAX_DOCUMENT;
use crate::manifest::{Descriptor, ImageConfig, Index, Manifest, Platform, media};
use crate::reference::Reference;
use crate::verify::{PublicKey, SIGNATURE, SIMPLE_SIGNING, Verify};
use crate::wasm;

/// The most layers of an image that are looked at.
const MAX_LAYERS: usize = 128;

/// The most signatures of an image that are looked at, and the most bytes of what one is of.
const MAX_SIGNATURES: usize = 32;
const MAX_STATEMENT: u64 = 64 << 10;

/// An image that is what it has to be.
pub(super) struct Known {
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
}

enum Document {
    Manifest(Manifest),
    Index(Index),
}

/// Finds the image, and the manifest in it that is for us.
pub(super) async fn find(session: &mut Session, reference: &Reference, verify: &[Verify]) -> Result<Known, ImageError> {
    let (content, digest) = session.manifest(&reference.asked()).await?;
    let (manifest, chosen) = match document(&content, &reference.to_string())? {
        Document::Manifest(manifest) => (manifest, digest),
        Document::Index(index) => {
            let chosen = choose(&index, &reference.to_string())?.digest;
            let (content, _) = session.manifest(&chosen.to_string()).await?;
            match document(&content, &reference.to_string())? {
                Document::Manifest(manifest) => (manifest, chosen),
                Document::Index(_) => return Err(no_guest(reference, "its index names an index")),
            }
        }
    };
    // What an index says besides is not known to be true if a condition only holds of what was chosen.
    let mut known = digest;
    for verify in verify {
        match verify {
            Verify::Digest(expected) if *expected == digest => {}
            Verify::Digest(expected) if *expected == chosen => known = chosen,
            Verify::Digest(expected) => {
                let (reference, expected) = (reference.to_string(), *expected);
                return Err(ImageError::Unexpected { reference, expected, found: digest });
            }
            Verify::Key(key) => {
                if is_signed(session, key, digest).await? {
                    continue;
                }
                if digest == chosen || !is_signed(session, key, chosen).await? {
                    return Err(ImageError::Unsigned { reference: reference.to_string(), digest });
                }
                known = chosen;
            }
        }
    }
    Ok(Known { digest: known, manifest })
}

/// Reads the guest of an image.
pub(super) async fn read(session: &mut Session, manifest: &Manifest) -> Result<Vec<u8>, ImageError> {
    let name = format!("{}/{}", session.registry, session.repository);
    let wrong = |reason: &str| ImageError::NoGuest { reference: name.clone(), reason: reason.to_owned() };
    if manifest.layers.len() > MAX_LAYERS {
        return Err(wrong("it has more than 128 layers"));
    }
    let is_wasm =
        |layer: &&Descriptor| matches!(layer.media_type.as_str(), media::WASM | media::RUNWASI | media::RUNWASI_MODULE);
    let limit = session.max_guest_bytes;
    let guests: Vec<&Descriptor> = manifest.layers.iter().filter(is_wasm).collect();
    let wasm = match guests[..] {
        [layer] => session.blob("layer", layer, limit).await?.into(),
        [] if matches!(manifest.config.media_type.as_str(), media::CONFIG | media::DOCKER_CONFIG) => {
            unpack(session, manifest, &wrong).await?
        }
        [] => return Err(wrong("it has no layer that is WebAssembly, and is not an image with an entrypoint")),
        _ => return Err(wrong("it has several layers that are WebAssembly")),
    };
    if !wasm.starts_with(wasm::MAGIC) {
        return Err(wrong("what should be its guest is not WebAssembly"));
    }
    Ok(wasm)
}

/// The entrypoint of an ordinary image.
async fn unpack(
    session: &mut Session,
    manifest: &Manifest,
    wrong: &impl Fn(&str) -> ImageError,
) -> Result<Vec<u8>, ImageError> {
    let content = session.blob("configuration", &manifest.config, MAX_DOCUMENT).await?;
    let config: ImageConfig = parse(&content, "its configuration", wrong)?;
    let process = &config.config;
    let program = |words: &Option<Vec<String>>| words.as_ref().and_then(|words| words.first()).cloned();
    let entrypoint = program(&process.entrypoint).or_else(|| program(&process.cmd));
    let entrypoint = entrypoint.ok_or_else(|| wrong("it has no entrypoint"))?;
    let directory = process.working_dir.as_deref().unwrap_or("/");
    let wanted = Wanted::new(directory, &entrypoint, session.max_guest_bytes, session.ends)?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(wrong("its configuration does not have as many layers as its manifest"));
    }
    for (layer, unpacked) in manifest.layers.iter().zip(&config.rootfs.diff_ids).rev() {
        let content = session.blob("layer", layer, session.max_guest_bytes).await?;
        let found = wanted.read(layer, &content, *unpacked);
        session.left()?;
        match found? {
            Found::File(wasm) => return Ok(wasm),
            Found::Nothing => {}
            Found::Removed => break,
        }
    }
    Err(wanted.missing())
}

async fn is_signed(session: &mut Session, key: &PublicKey, digest: Digest) -> Result<bool, ImageError> {
    let signatures = signatures(session, digest).await?;
    Ok(signatures.iter().any(|(statement, signature)| key.has_signed(statement, signature, digest)))
}

/// What there is to be verified of the image `digest`: statements and their signatures, where `cosign` puts them.
async fn signatures(session: &mut Session, digest: Digest) -> Result<Vec<(Vec<u8>, String)>, ImageError> {
    let content = match session.manifest(&format!("sha256-{}.sig", digest.hex())).await {
        Err(ImageError::Missing { .. }) => return Ok(Vec::new()),
        found => found?.0,
    };
    let Document::Manifest(manifest) = document(&content, "the signatures")? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING).take(MAX_SIGNATURES) {
        if let Some(signature) = layer.annotations.as_ref().and_then(|annotations| annotations.get(SIGNATURE)) {
            let statement = session.blob("signed statement", layer, MAX_STATEMENT).await?;
            found.push((statement.to_vec(), signature.clone()));
        }
    }
    Ok(found)
}

/// A manifest or an index: what it has decides, and it may not have what both have.
fn document(content: &[u8], name: &str) -> Result<Document, ImageError> {
    let wrong = |reason: &str| ImageError::NoGuest { reference: name.to_owned(), reason: reason.to_owned() };
    let value: Value = parse(content, "its manifest", &wrong)?;
    match (value.get("layers").is_some(), value.get("manifests").is_some()) {
        (true, false) => parse(content, "its manifest", &wrong).map(Document::Manifest),
        (false, true) => parse(content, "its index", &wrong).map(Document::Index),
        (true, true) => Err(wrong("its manifest is one and an index at the same time")),
        (false, false) => Err(wrong("its manifest is neither one nor an index, or is of a kind that is too old")),
    }
}

fn parse<T: DeserializeOwned>(
    content: &[u8],
    what: &str,
    wrong: &impl Fn(&str) -> ImageError,
) -> Result<T, ImageError> {
    serde_json::from_slice(content)
        .map_err(|error| wrong(&format!("{what} is not valid: {}", error::shown(&error.to_string()))))
}

/// Of the images for several platforms, that for WebAssembly, or else for Linux here: its entrypoint may be a guest, too.
fn choose<'a>(index: &'a Index, name: &str) -> Result<&'a Descriptor, ImageError> {
    let linux = Platform {
        os: "linux".to_owned(),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
        .to_owned(),
        variant: None,
    };
    let is_manifest =
        |entry: &&Descriptor| matches!(entry.media_type.as_str(), media::MANIFEST | media::DOCKER_MANIFEST);
    let entries: Vec<&Descriptor> = index.manifests.iter().filter(is_manifest).collect();
    let first = |wanted: &dyn Fn(&Platform) -> bool| {
        entries.iter().copied().find(|entry| entry.platform.as_ref().is_some_and(wanted))
    };
    let found = first(&Platform::is_wasm)
        .or_else(|| first(&|platform| (&platform.os, &platform.architecture) == (&linux.os, &linux.architecture)));
    let found = found.or(match entries[..] {
        [entry] if entry.platform.is_none() => Some(entry),
        _ => None,
    });
    found.ok_or_else(|| ImageError::NoGuest {
        reference: name.to_owned(),
        reason: format!("it is neither for wasi/wasm nor for {linux}"),
    })
}

fn no_guest(reference: &Reference, reason: &str) -> ImageError {
    ImageError::NoGuest { reference: reference.to_string(), reason: reason.to_owned() }
}
