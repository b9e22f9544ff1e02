//! A server's certificate and key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or holds no certificate or key in PEM.
    #[error("`{}` is not a PEM file with {what}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        #[source]
        source: pem::Error,
    },
    /// The certificate and the key cannot be used together.
    #[error("the certificate in `{}` cannot be used with its key", .0.display())]
    Unusable(PathBuf, #[source] rustls::Error),
}

/// TLS 1.2 and 1.3 with the certificate chain and the private key in these PEM files. Clients may choose HTTP/2 or
/// HTTP/1.1.
///
/// # Errors
/// [`TlsError`].
pub fn tls_from_pem(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let no = |path: &Path, what: &'static str| {
        let path = path.to_owned();
        move |source| TlsError::File { path, what, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(no(certificate, "certificates"))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(no(key, "a private key"))?;
    let unusable = |error| TlsError::Unusable(certificate.to_owned(), error);
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
