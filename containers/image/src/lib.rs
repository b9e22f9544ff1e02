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

#![forbid(unsafe_code)]

mod digest;
mod error;
mod layout;
pub mod manifest;
mod package;
mod wasm;

pub use self::digest::Digest;
pub use self::error::ImageError;
pub use self::manifest::Platform;
pub use self::package::{Image, Package, Shape};
