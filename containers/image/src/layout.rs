//! An image as files: a layout
//! ([the specification](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md)), as a directory or as the
//! tar that `ctr image import` and `docker load` take.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::error::ImageError;
use crate::manifest::{Descriptor, Index, Labels, media};
use crate::package::Image;
use crate::tarball::append;

/// What the file `oci-layout` says.
const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The name of an image in a layout, for containerd.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The name, or only the tag, of an image in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Image {
    /// Writes the image as the tar of a layout. `name` is what the image is called once it is imported, for example
    /// `example.com/app:1`.
    ///
    /// # Errors
    /// What writing says.
    pub fn write_tar(&self, name: Option<&str>, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        append(&mut tar, "oci-layout", 0o644, VERSION)?;
        append(&mut tar, "blobs/", 0o755, &[])?;
        append(&mut tar, "blobs/sha256/", 0o755, &[])?;
        for (digest, _, content) in self.blobs() {
            append(&mut tar, &format!("blobs/sha256/{}", digest.hex()), 0o644, content)?;
        }
        append(&mut tar, "index.json", 0o644, &self.index(name)?)?;
        tar.into_inner()?.flush()
    }

    /// Writes the image as a layout into `directory`, which is made if it is missing. What is in a layout that is there
    /// stays, but it then names this image only.
    ///
    /// # Errors
    /// [`ImageError::File`].
    pub fn write_directory(&self, name: Option<&str>, directory: &Path) -> Result<(), ImageError> {
        let blobs = directory.join("blobs/sha256");
        let failed = |path: &Path, action: &'static str| {
            let path = path.to_owned();
            move |source| ImageError::File { action, path, source }
        };
        fs::create_dir_all(&blobs).map_err(failed(&blobs, "make"))?;
        let write = |path: &Path, content: &[u8]| fs::write(path, content).map_err(failed(path, "write"));
        write(&directory.join("oci-layout"), VERSION)?;
        for (digest, _, content) in self.blobs() {
            write(&blobs.join(digest.hex()), content)?;
        }
        // Last: whoever reads it finds all that it names.
        let index = directory.join("index.json");
        write(&index, &self.index(name).map_err(failed(&index, "write"))?)
    }

    /// The file `index.json`.
    fn index(&self, name: Option<&str>) -> io::Result<Vec<u8>> {
        let mut annotations = Labels::new();
        if let Some(name) = name {
            let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
            annotations.insert(CONTAINERD_NAME.to_owned(), name.to_owned());
            annotations.insert(REF_NAME.to_owned(), tag.unwrap_or("latest").to_owned());
        }
        let annotations = (!annotations.is_empty()).then_some(annotations);
        let manifests = vec![Descriptor { annotations, ..self.root().clone() }];
        let media_type = Some(media::INDEX.to_owned());
        Ok(serde_json::to_vec(&Index { schema_version: 2, media_type, manifests, annotations: None })?)
    }
}
