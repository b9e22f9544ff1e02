//! Server certificate verification: the system's certificate authorities, and those the embedder adds.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// Why a transport cannot be set up for https.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A root certificate of no bytes.
    #[error("a root certificate is empty")]
    Empty,
    /// What should be PEM is not.
    #[error("a root certificate is not valid pem")]
    Pem(#[source] Box<dyn StdError + Send + Sync>),
    /// PEM without a certificate.
    #[error("a root certificate file has no certificate in it")]
    NoCertificate,
    /// The TLS library refuses the certificates, or cannot be used.
    #[error("tls could not be set up")]
    Setup(#[source] Box<dyn StdError + Send + Sync>),
}

/// The name of a TLS alert by its number (RFC 8446, section 6), for people.
pub fn alert_name(alert: u8) -> String {
    format!("{:?}", rustls::AlertDescription::from(alert))
}

/// The TLS settings of a transport that trusts the system's authorities and `roots`, and offers HTTP/2 and HTTP/1.1. The
/// cryptography is that of `ring`, whatever the process's default provider.
///
/// # Errors
/// [`TlsConfigError::Setup`] if a certificate is not valid.
pub fn client_config(roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, TlsConfigError> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error: TlsError| TlsConfigError::Setup(error.into());
    let verifier: Arc<dyn ServerCertVerifier> = if roots.is_empty() {
        Arc::new(SystemTrust { provider: provider.clone() })
    } else {
        Arc::new(Verifier::new_with_extra_roots(roots, provider.clone()).map_err(failed)?)
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads certificates: one in DER, or any number in PEM.
///
/// # Errors
/// [`TlsConfigError`] if there is none.
pub fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    if !bytes.starts_with(b"-----") && !bytes.windows(11).any(|part| part == b"-----BEGIN ") {
        if bytes.is_empty() {
            return Err(TlsConfigError::Empty);
        }
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| TlsConfigError::Pem(error.into()))?;
    if found.is_empty() { Err(TlsConfigError::NoCertificate) } else { Ok(found) }
}

/// Trusts the authorities of the system. They are read at the first https connection of the process and shared, since
/// reading takes milliseconds and most guests of a short-lived command make none. A system without any is not an error
/// until then: plain http has no need of them.
#[derive(Debug)]
struct SystemTrust {
    provider: Arc<CryptoProvider>,
}

impl SystemTrust {
    fn verifier(&self) -> Result<&'static Verifier, TlsError> {
        static SYSTEM: OnceLock<Option<Verifier>> = OnceLock::new();
        SYSTEM
            .get_or_init(|| {
                Verifier::new(self.provider.clone())
                    .inspect_err(|error| {
                        tracing::warn!(
                            %error,
                            "no certificate authority of the system could be read, so no https origin is trusted: \
                             install the ca-certificates package, or configure a root certificate"
                        );
                    })
                    .ok()
            })
            .as_ref()
            .ok_or(TlsError::InvalidCertificate(CertificateError::UnknownIssuer))
    }
}

impl ServerCertVerifier for SystemTrust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_when_it_is_given() {
        let broken = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(certificates(b"").unwrap_err(), TlsConfigError::Empty));
        assert!(matches!(certificates(broken).unwrap_err(), TlsConfigError::Pem(_)));
        assert!(matches!(certificates(b"-----").unwrap_err(), TlsConfigError::NoCertificate));
        let error = client_config(certificates(b"not a certificate").unwrap()).unwrap_err();
        assert!(matches!(error, TlsConfigError::Setup(_)));
    }

    #[test]
    fn a_system_without_authorities_is_no_error_before_the_first_handshake() {
        assert_eq!(client_config(Vec::new()).unwrap().alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}
