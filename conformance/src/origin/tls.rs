//! A certificate authority for one run of the suite, and the certificates that cases ask of it.

use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::case::{CaseResult, Unmet};

/// Which certificate an origin shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// A good one.
    Good,
    /// One that ran out years ago.
    Expired,
    /// One for another name.
    OtherName,
    /// One that no authority signed.
    SelfSigned,
}

/// A certificate authority that is not trusted unless a client is told to.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl TestCa {
    /// The authority of this process.
    ///
    /// # Errors
    /// [`Unmet::Harness`] if none can be made.
    pub fn shared() -> CaseResult<&'static TestCa> {
        static SHARED: OnceLock<Result<TestCa, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| TestCa::new().map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|error| Unmet::harness(format!("no test authority: {error}")))
    }

    fn new() -> Result<TestCa, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "wharf conformance test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(TestCa { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate in DER, to be trusted by a client.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The same in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What a server needs to show `certificate` and to offer `protocols`.
    pub(super) fn server(&self, certificate: Certificate, protocols: &[&str]) -> CaseResult<Arc<ServerConfig>> {
        let (chain, key) = self.issue(certificate).map_err(Unmet::harness)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Unmet::harness)?
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .map_err(Unmet::harness)?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn issue(
        &self,
        certificate: Certificate,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
        let names = match certificate {
            Certificate::OtherName => vec!["elsewhere.test".to_owned()],
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "wharf conformance origin");
        if certificate == Certificate::Expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate()?;
        let signed = match certificate {
            Certificate::SelfSigned => params.self_signed(&key)?,
            _ => params.signed_by(&key, &self.issuer)?,
        };
        Ok((signed.der().clone(), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))))
    }
}
