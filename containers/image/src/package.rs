//! From a guest to an image.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use crate::digest::Digest;
use crate::error::ImageError;
use crate::layers::MAX_ENTRIES;
use crate::limits::{MAX_DOCUMENT, MAX_GUEST};
use crate::manifest::{Descriptor, ImageConfig, Index, Labels, Manifest, Platform, Process, RootFs, WasmConfig, media};
use crate::tarball::append;
use crate::wasm;

/// When everything was made, so that the same guest always has the same digest.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The most bytes that a path may have: what systems open.
const MAX_PATH: usize = 4095;

/// How a guest is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An artifact: one layer that is the guest itself, as `wkg` reads and writes it.
    Artifact,
    /// An ordinary image: a layer of files, of which the entrypoint is the guest, as containerd and Docker unpack it.
    Image,
}

/// A guest, and what its image is to say and to have beside it.
///
/// The same package always makes the same image, byte for byte: nothing in it says when, where or by whom it was made.
#[derive(Debug, Clone)]
pub struct Package {
    name: String,
    wasm: Bytes,
    shape: Shape,
    platforms: Vec<Platform>,
    args: Vec<String>,
    env: Vec<String>,
    ports: BTreeSet<u16>,
    files: BTreeMap<String, Bytes>,
    labels: Labels,
    annotations: Labels,
    max_guest_bytes: u64,
}

impl Package {
    /// The most bytes that the files of an image may have together, its guest included: they are held in memory.
    pub const MAX_FILES: u64 = 1 << 30;

    /// Packs the guest `wasm`, a module or a component, as an [`Image`](Shape::Image) or [`Artifact`](Shape::Artifact).
    /// `name` is how its file is called: `app.wasm`.
    pub fn new(name: impl Into<String>, wasm: impl Into<Bytes>, shape: Shape) -> Self {
        Package {
            name: name.into(),
            wasm: wasm.into(),
            shape,
            platforms: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            ports: BTreeSet::new(),
            files: BTreeMap::new(),
            labels: Labels::new(),
            annotations: Labels::new(),
            max_guest_bytes: MAX_GUEST,
        }
    }

    /// Bounds the guest, and a compressed layer, as [`ClientOptions`](crate::ClientOptions) does that pull it. Default 256 MiB.
    #[must_use]
    pub fn max_guest_bytes(mut self, bytes: u64) -> Self {
        self.max_guest_bytes = bytes;
        self
    }

    /// Makes the image for this platform; with several, all of them share its files. By default an ordinary image is for
    /// `wasi/wasm`, and for Linux on `amd64` and `arm64`, since many registries, engines and nodes take no other.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        if !self.platforms.contains(&platform) {
            self.platforms.push(platform);
        }
        self
    }

    /// Passes one more argument to the guest.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable for the guest.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// Says that the guest serves on this port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports.insert(port);
        self
    }

    /// Adds a file, under an absolute path.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// Adds a label to the configuration.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Adds an annotation to the manifest.
    #[must_use]
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Makes the image.
    ///
    /// # Errors
    /// [`ImageError::NotWasm`]; [`ImageError::Package`] if an artifact was given what it has no place for, if a path is not
    /// absolute and plain, the files are larger than [`MAX_FILES`](Self::MAX_FILES) together, or something is larger than
    /// [`Client::pull`](crate::Client::pull) reads.
    pub fn build(&self) -> Result<Image, ImageError> {
        Self::bounded("its guest", self.wasm.len(), self.max_guest_bytes)?;
        let image = match self.shape {
            Shape::Artifact => self.artifact(),
            Shape::Image => self.image(),
        }?;
        for (_, media_type, content) in image.blobs() {
            let (what, limit) = match media_type {
                media::WASM => ("its guest", self.max_guest_bytes),
                media::TAR_GZIP => ("its layer, compressed,", self.max_guest_bytes),
                media::CONFIG | media::WASM_CONFIG => ("its configuration", MAX_DOCUMENT),
                _ => ("its manifest", MAX_DOCUMENT),
            };
            Self::bounded(what, content.len(), limit)?;
        }
        Ok(image)
    }

    /// Refuses what would not be read again.
    fn bounded(what: &str, bytes: usize, limit: u64) -> Result<(), ImageError> {
        if bytes as u64 > limit {
            return Err(wrong(format!("{what} has {bytes} bytes; at most {limit} are read from a registry")));
        }
        Ok(())
    }

    fn artifact(&self) -> Result<Image, ImageError> {
        let component = wasm::component(&self.name, &self.wasm)?;
        let given = [
            ("arguments", self.args.is_empty()),
            ("variables", self.env.is_empty()),
            ("ports", self.ports.is_empty()),
            ("files", self.files.is_empty()),
            ("labels", self.labels.is_empty()),
            ("a platform", self.platforms.is_empty()),
        ];
        if let Some((what, _)) = given.into_iter().find(|(_, none)| !none) {
            return Err(wrong(format!("an artifact has no place for {what}; use annotations, or an ordinary image")));
        }
        let mut blobs = Blobs::default();
        let mut layer = blobs.add(media::WASM, self.wasm.clone());
        layer.annotations = Some(Labels::from([("org.opencontainers.image.title".to_owned(), self.name.clone())]));
        let config = WasmConfig {
            created: CREATED.to_owned(),
            author: None,
            architecture: "wasm".to_owned(),
            os: if component.is_some() { "wasip2" } else { "wasip1" }.to_owned(),
            layer_digests: vec![layer.digest],
            component,
        };
        let config = blobs.add_json(media::WASM_CONFIG, &config)?;
        let mut manifest = self.manifest(&mut blobs, config, layer)?;
        manifest.platform = Some(Platform::wasi());
        Ok(Image { blobs, root: manifest })
    }

    fn image(&self) -> Result<Image, ImageError> {
        wasm::component(&self.name, &self.wasm)?;
        let entrypoint = format!("/{}", self.name);
        let tar = self.layer(&entrypoint)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let compressed = gzip.write_all(&tar).and_then(|()| gzip.finish());
        let compressed = compressed.map_err(|error| wrong(format!("its files cannot be compressed: {error}")))?;
        let mut blobs = Blobs::default();
        let layer = blobs.add(media::TAR_GZIP, compressed.into());
        let process = Process {
            entrypoint: Some([&[entrypoint], &self.args[..]].concat()),
            env: some(self.env.clone(), Vec::is_empty),
            working_dir: Some("/".to_owned()),
            exposed_ports: some(
                self.ports.iter().map(|port| (format!("{port}/tcp"), serde_json::json!({}))).collect(),
                BTreeMap::is_empty,
            ),
            labels: some(self.labels.clone(), Labels::is_empty),
            ..Process::default()
        };
        let mut config = ImageConfig {
            created: Some(CREATED.to_owned()),
            config: process,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![Digest::of(&tar)] },
            ..ImageConfig::default()
        };
        let mut manifests = Vec::new();
        let default = || ["wasi/wasm", "linux/amd64", "linux/arm64"].iter().map(|text| text.parse()).collect();
        let platforms: Vec<Platform> = if self.platforms.is_empty() { default() } else { Ok(self.platforms.clone()) }?;
        for platform in platforms {
            config.os.clone_from(&platform.os);
            config.architecture.clone_from(&platform.architecture);
            config.variant.clone_from(&platform.variant);
            let config = blobs.add_json(media::CONFIG, &config)?;
            let mut manifest = self.manifest(&mut blobs, config, layer.clone())?;
            manifest.platform = Some(platform);
            manifests.push(manifest);
        }
        let root = match <[Descriptor; 1]>::try_from(manifests) {
            Ok([manifest]) => manifest,
            Err(manifests) => {
                let annotations = some(self.annotations.clone(), Labels::is_empty);
                let media_type = Some(media::INDEX.to_owned());
                blobs.add_json(media::INDEX, &Index { schema_version: 2, media_type, manifests, annotations })?
            }
        };
        Ok(Image { blobs, root })
    }

    fn manifest(&self, blobs: &mut Blobs, config: Descriptor, layer: Descriptor) -> Result<Descriptor, ImageError> {
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::MANIFEST.to_owned()),
            config,
            layers: vec![layer],
            annotations: some(self.annotations.clone(), Labels::is_empty),
        };
        blobs.add_json(media::MANIFEST, &manifest)
    }

    /// The guest and its files, as a tar with the directories that they are in.
    fn layer(&self, entrypoint: &str) -> Result<Vec<u8>, ImageError> {
        let mut files = self.files.clone();
        if files.insert(entrypoint.to_owned(), self.wasm.clone()).is_some() {
            return Err(wrong(format!("there is a file `{entrypoint}` beside the guest, which has this path")));
        }
        let bytes: u64 = files.values().map(|content| content.len() as u64).sum();
        let most = Self::MAX_FILES;
        if bytes > most {
            return Err(wrong(format!("its files have {bytes} bytes; at most {most} are possible")));
        }
        let mut directories = BTreeSet::new();
        for path in files.keys() {
            let steps: Vec<&str> = path.split('/').collect();
            let plain = |step: &&str| !matches!(*step, "" | "." | "..") && !step.contains('\0');
            let [start, steps @ ..] = &steps[..] else { return Err(wrong("a path is empty")) };
            if !start.is_empty() || steps.is_empty() || !steps.iter().all(plain) {
                return Err(wrong(format!("`{path}` is not a valid path of a file: write it as /etc/app.conf")));
            }
            if path.len() > MAX_PATH {
                return Err(wrong(format!("a path has {} bytes; at most {MAX_PATH} are possible", path.len())));
            }
            if steps.iter().any(|step| step.starts_with(".wh.")) {
                return Err(wrong(format!("`{path}`: names that begin with .wh. say what is removed in an image")));
            }
            for end in 1..steps.len() {
                directories.insert(steps[..end].join("/"));
            }
        }
        let entries = files.len() + directories.len();
        if entries > MAX_ENTRIES {
            return Err(wrong(format!("it has {entries} files and directories; at most {MAX_ENTRIES} are read")));
        }
        if let Some(both) = directories.iter().find(|directory| files.contains_key(&format!("/{directory}"))) {
            return Err(wrong(format!("`/{both}` is a file, and a directory of others")));
        }
        let mut tar = tar::Builder::new(Vec::new());
        let pack = || -> io::Result<Vec<u8>> {
            for path in &directories {
                append(&mut tar, &format!("{path}/"), 0o755, &[])?;
            }
            for (path, content) in &files {
                append(&mut tar, &path[1..], if path == entrypoint { 0o755 } else { 0o644 }, content)?;
            }
            tar.into_inner()
        };
        pack().map_err(|error| wrong(format!("its files cannot be packed: {error}")))
    }
}

fn wrong(reason: impl Into<String>) -> ImageError {
    ImageError::Package { reason: reason.into() }
}

fn some<T>(value: T, is_empty: impl Fn(&T) -> bool) -> Option<T> {
    (!is_empty(&value)).then_some(value)
}

/// A packed guest: blobs, and which of them is the whole.
#[derive(Debug, Clone)]
pub struct Image {
    blobs: Blobs,
    root: Descriptor,
}

impl Image {
    /// What the image is known by: its manifest, or the index of its manifests.
    pub fn root(&self) -> &Descriptor {
        &self.root
    }

    /// All blobs, with their media types: manifests, configurations and layers.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, &'static str, &Bytes)> {
        self.blobs.0.iter().map(|(digest, blob)| (*digest, blob.media_type, &blob.content))
    }
}

#[derive(Debug, Clone, Default)]
struct Blobs(BTreeMap<Digest, Blob>);

#[derive(Debug, Clone)]
struct Blob {
    media_type: &'static str,
    content: Bytes,
}

impl Blobs {
    fn add(&mut self, media_type: &'static str, content: Bytes) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &content);
        self.0.insert(descriptor.digest, Blob { media_type, content });
        descriptor
    }

    fn add_json(&mut self, media_type: &'static str, document: &impl Serialize) -> Result<Descriptor, ImageError> {
        let json = serde_json::to_vec(document).map_err(|error| wrong(error.to_string()))?;
        Ok(self.add(media_type, json.into()))
    }
}
