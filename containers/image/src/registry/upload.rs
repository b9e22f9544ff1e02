//! An image, put into a registry.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::session::{Asked, Session, location};
use crate::digest::Digest;
use crate::error::ImageError;
use crate::manifest::media;
use crate::package::Image;
use crate::reference::Reference;

impl Session {
    /// What a document names is there before it is: a registry refuses it otherwise.
    pub(super) async fn push(&mut self, reference: &Reference, image: &Image) -> Result<(), ImageError> {
        let (manifests, blobs): (Vec<_>, Vec<_>) =
            image.blobs().partition(|(_, media_type, _)| matches!(*media_type, media::MANIFEST | media::INDEX));
        for (digest, _, content) in blobs {
            self.put_blob(digest, content).await?;
        }
        let root = image.root();
        for (digest, media_type, content) in manifests.iter().filter(|(digest, ..)| *digest != root.digest) {
            self.put_manifest(&digest.to_string(), media_type, content).await?;
        }
        for (_, media_type, content) in manifests.iter().filter(|(digest, ..)| *digest == root.digest) {
            let name = reference.tag().map_or_else(|| root.digest.to_string(), str::to_owned);
            self.put_manifest(&name, media_type, content).await?;
        }
        Ok(())
    }

    async fn put_blob(&mut self, digest: Digest, content: &Bytes) -> Result<(), ImageError> {
        let what = format!("the blob {digest} of {}/{}", self.registry, self.repository);
        let url = self.url(&format!("blobs/{digest}"))?;
        let head = self.send(url, Asked { method: Method::HEAD, ..Asked::get(what.clone()) }).await?;
        if head.status() == StatusCode::OK {
            return Ok(());
        }
        let what = format!("a place for {what}");
        let post = Asked { method: Method::POST, ..Asked::get(what.clone()) };
        let url = self.url("blobs/uploads/")?;
        let begun = self.send(url.clone(), post).await?;
        let begun = self.expect(&what, begun, &[StatusCode::ACCEPTED]).await?;
        let mut url = location(&url, begun.headers(), &what)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let content_type = Some(HeaderValue::from_static("application/octet-stream"));
        let put = Asked { method: Method::PUT, content_type, body: content.clone(), ..Asked::get(what.clone()) };
        let done = self.send(url, put).await?;
        self.expect(&what, done, &[StatusCode::CREATED]).await?;
        Ok(())
    }

    async fn put_manifest(&mut self, name: &str, media_type: &'static str, content: &Bytes) -> Result<(), ImageError> {
        let what = format!("a place for the manifest {name} of {}/{}", self.registry, self.repository);
        let url = self.url(&format!("manifests/{name}"))?;
        let content_type = Some(HeaderValue::from_static(media_type));
        let put = Asked { method: Method::PUT, content_type, body: content.clone(), ..Asked::get(what.clone()) };
        let done = self.send(url, put).await?;
        let done = self.expect(&what, done, &[StatusCode::CREATED]).await?;
        let said = done.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse().ok());
        match said {
            Some(found) if found != Digest::of(content) => {
                Err(ImageError::Mismatch { what, expected: Digest::of(content), found })
            }
            _ => Ok(()),
        }
    }
}
