//! An image, put into a registry.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode};
use wharf_http::Incoming;

use super::body;
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
        let post = Asked { method: Method::POST, ..Asked::get(place(&what)) };
        let url = self.url("blobs/uploads/")?;
        let begun = self.send(url.clone(), post).await?;
        let begun = self.taken(&what, begun, StatusCode::ACCEPTED).await?;
        let mut url = location(&url, begun.headers(), &place(&what))?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let content_type = Some(HeaderValue::from_static("application/octet-stream"));
        let put = Asked { method: Method::PUT, content_type, body: content.clone(), ..Asked::get(what.clone()) };
        let done = self.send(url, put).await?;
        self.taken(&what, done, StatusCode::CREATED).await?;
        Ok(())
    }

    async fn put_manifest(&mut self, name: &str, media_type: &'static str, content: &Bytes) -> Result<(), ImageError> {
        let what = format!("the manifest {name} of {}/{}", self.registry, self.repository);
        let url = self.url(&format!("manifests/{name}"))?;
        let content_type = Some(HeaderValue::from_static(media_type));
        let put = Asked { method: Method::PUT, content_type, body: content.clone(), ..Asked::get(what.clone()) };
        let done = self.send(url, put).await?;
        let done = self.taken(&what, done, StatusCode::CREATED).await?;
        let said = done.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse().ok());
        match said {
            Some(found) if found != Digest::of(content) => {
                Err(ImageError::Mismatch { what, expected: Digest::of(content), found })
            }
            _ => Ok(()),
        }
    }

    /// Refuses an answer that does not say that `what` was taken, with what the registry says of it.
    async fn taken(
        &self,
        what: &str,
        response: Response<Incoming>,
        expected: StatusCode,
    ) -> Result<Response<Incoming>, ImageError> {
        let status = response.status();
        if status == expected {
            return Ok(response);
        }
        let said = body::complaint(response).await;
        let advice = match status.as_u16() {
            401 => return Err(self.unauthorized(&place(what), said)),
            403 => return Err(self.forbidden(&place(what), said)),
            404 => "it may have no such repository, and make none: create it there first, or look at its name",
            405 => "it may be one that only gives, as a mirror is: push to where it has its images from",
            413 => "it is too large for it: whoever runs it can raise its limit",
            429 | 500.. => "try again later, or ask whoever runs it",
            _ => "whoever runs it can say why",
        };
        let (registry, what) = (self.registry.clone(), what.to_owned());
        Err(ImageError::NotTaken { registry, what, status: status.as_u16(), said, advice })
    }
}

/// What is asked for, so that `what` can be sent.
fn place(what: &str) -> String {
    format!("a place for {what}")
}
