//! WebAssembly guests as OCI images.
//!
//! A guest is packed in one of two [shapes](Shape):
//!
//! - as an artifact, one layer that is the guest itself, which `wkg` reads and writes;
//! - as an ordinary image, whose entrypoint is the guest, which containerd and Docker unpack.
//!
//! ```
//! use wharf_image::{Package, Shape};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let image = Package::new("app.wasm", &b"\0asm\x01\0\0\0"[..], Shape::Image).port(8080).build()?;
//! let mut tar = Vec::new();
//! image.write_tar(Some("example.com/app:1"), &mut tar)?;
//! # Ok(())
//! # }
//! ```
//!
//! It is pushed to a registry and pulled from one by a [`Client`], which takes neither for honest: everything is held to its
//! digest and to a limit, and [`Verify`] says which images will do.
//!
//! The client sends with [`wharf_http`], and not with a library for registries: those that there are read manifests, tokens
//! and complaints however long they are, and send credentials to whomever a registry names, with or without TLS.

#![forbid(unsafe_code)]

mod credentials;
mod digest;
mod error;
mod file;
mod helper;
mod layers;
mod layout;
mod limits;
pub mod manifest;
mod package;
mod reference;
mod registry;
mod tarball;
mod verify;
mod wasm;

pub use self::credentials::{Credential, DockerConfig};
pub use self::digest::{Digest, DigestError};
pub use self::error::ImageError;
pub use self::manifest::Platform;
pub use self::package::{Image, Package, Shape};
pub use self::reference::Reference;
pub use self::registry::{Client, ClientOptions, Pulled, Store};
pub use self::verify::{PublicKey, Verify};
