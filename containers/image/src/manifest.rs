//! The documents of an image, as the specification has them, in so far as guests need it
//! ([manifests](https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md),
//! [indexes](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md),
//! [configurations](https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md)).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::ImageError;

/// Media types: what a blob is.
pub mod media {
    /// A manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An index: manifests for several platforms.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A manifest as Docker writes it.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// An index as Docker writes it.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The configuration of an ordinary image.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// The configuration of an ordinary image as Docker writes it.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// The configuration of an artifact that is a guest, as `wkg` writes it.
    pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
    /// A layer that is a guest, as `wkg` writes it.
    pub const WASM: &str = "application/wasm";
    /// A layer that is a guest, as runwasi writes it.
    pub const RUNWASI: &str = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";
    /// A layer that is a module, as runwasi writes it.
    pub const RUNWASI_MODULE: &str = "application/vnd.bytecodealliance.wasm.module.layer.v0+wasm";
    /// A layer that is files.
    pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    /// A layer that is files, compressed.
    pub const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer that is files, compressed, as Docker writes it.
    pub const DOCKER_TAR_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
}

/// Labels or annotations.
pub type Labels = BTreeMap<String, String>;

/// Where a blob is to be found, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is, one of [`media`] or something else.
    pub media_type: String,
    /// What it is known by.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
    /// What it is for, if an index names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Labels>,
}

impl Descriptor {
    /// Of `content`, which is of this media type.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(content),
            size: content.len() as u64,
            platform: None,
            annotations: None,
        }
    }
}

/// What an image is for: an operating system and an architecture, written `wasi/wasm` or `linux/amd64`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The architecture, as Go names it.
    #[serde(default)]
    pub architecture: String,
    /// The operating system, as Go names it.
    #[serde(default)]
    pub os: String,
    /// Which of the architecture, for example `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// What `docker run --platform=wasi/wasm` asks for.
    pub fn wasi() -> Self {
        Platform { architecture: "wasm".to_owned(), os: "wasi".to_owned(), variant: None }
    }

    /// Whether it is for WebAssembly, whichever release of WASI it names (`wasi`, `wasip1`, `wasip2`).
    pub fn is_wasm(&self) -> bool {
        matches!(self.architecture.as_str(), "wasm" | "wasm32")
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = ImageError;

    /// # Errors
    /// [`ImageError::Platform`].
    fn from_str(text: &str) -> Result<Self, ImageError> {
        let wrong = || ImageError::Platform { text: text.to_owned() };
        let word = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.');
            (!part.is_empty() && part.bytes().all(plain)).then(|| part.to_owned()).ok_or_else(wrong)
        };
        let parts: Vec<String> = text.split('/').map(word).collect::<Result<_, _>>()?;
        match <[String; 2]>::try_from(parts) {
            Ok([os, architecture]) => Ok(Platform { architecture, os, variant: None }),
            Err(parts) => match <[String; 3]>::try_from(parts) {
                Ok([os, architecture, variant]) => Ok(Platform { architecture, os, variant: Some(variant) }),
                Err(_) => Err(wrong()),
            },
        }
    }
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// [`media::MANIFEST`] or [`media::DOCKER_MANIFEST`], if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Labels>,
}

/// Manifests for several platforms, or the images in a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`media::INDEX`] or [`media::DOCKER_INDEX`], if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What it names.
    pub manifests: Vec<Descriptor>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Labels>,
}

/// The configuration of an ordinary image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, as RFC 3339 has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The architecture, as in [`Platform`].
    #[serde(default)]
    pub architecture: String,
    /// The operating system, as in [`Platform`].
    #[serde(default)]
    pub os: String,
    /// As in [`Platform`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What is to be run.
    #[serde(default)]
    pub config: Process,
    /// What its files are made of.
    #[serde(default)]
    pub rootfs: RootFs,
}

/// What an image says of the process that is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Process {
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments, or program and arguments if there is no entrypoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Variables, `NAME=VALUE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// Where it is run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// The ports that it serves on, `8080/tcp`; the values are empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// What else is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

/// What the files of an image are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the layers before they were compressed.
    pub diff_ids: Vec<Digest>,
}

/// The configuration of an artifact that is a guest, as `wkg` reads and writes it
/// ([the layout](https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmConfig {
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// Who made it.
    #[serde(default)]
    pub author: Option<String>,
    /// Always `wasm`.
    pub architecture: String,
    /// `wasip1` of a module, `wasip2` of a component.
    pub os: String,
    /// The digest of the one layer.
    pub layer_digests: Vec<Digest>,
    /// What it imports and exports, of a component.
    #[serde(default)]
    pub component: Option<WasmComponent>,
}

/// What a component imports and exports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WasmComponent {
    /// The names of its exports.
    #[serde(default)]
    pub exports: Vec<String>,
    /// The names of its imports.
    #[serde(default)]
    pub imports: Vec<String>,
    /// The world that it is made for, if it is known.
    #[serde(default)]
    pub target: Option<String>,
}
