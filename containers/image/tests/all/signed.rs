//! Signatures, as `cosign sign --key` puts them into a registry.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;
use wharf_image::{Digest, ImageError, PublicKey, Verify};

use crate::support::*;

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        Signer(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap())
    }

    fn public(&self) -> PublicKey {
        let prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
        PublicKey::from_pem(pem(prefix, self.0.public_key().as_ref()).as_bytes()).unwrap()
    }

    fn sign(&self, statement: &str) -> String {
        let signature = self.0.sign(&SystemRandom::new(), statement.as_bytes()).unwrap();
        STANDARD.encode(signature.as_ref())
    }
}

fn pem(prefix: &str, key: &[u8]) -> String {
    let byte = |at| u8::from_str_radix(&prefix[at..at + 2], 16).unwrap();
    let der: Vec<u8> = (0..prefix.len()).step_by(2).map(byte).chain(key.iter().copied()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

fn statement(digest: Digest) -> String {
    let kind = "cosign container image signature";
    let image = json!({ "docker-manifest-digest": digest });
    let identity = json!({ "docker-reference": "example.com/app" });
    json!({ "critical": { "identity": identity, "image": image, "type": kind }, "optional": null }).to_string()
}

/// The image, with these statements and signatures beside it.
fn signed(signatures: &[(String, String)]) -> BTreeMap<String, Vec<u8>> {
    let mut content = artifact(&[MODULE]);
    let digest = Digest::of(&content[MANIFEST]);
    let layer = |(statement, signature): &(String, String)| {
        let mut layer = descriptor("application/vnd.dev.cosign.simplesigning.v1+json", statement.as_bytes());
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
        layer
    };
    let layers: Vec<_> = signatures.iter().map(layer).collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string();
    content.insert(format!("/v2/app/manifests/sha256-{}.sig", digest.hex()), manifest.into());
    content.extend(signatures.iter().map(|(text, _)| (blob(text.as_bytes()), text.clone().into_bytes())));
    content
}

fn digest() -> Digest {
    Digest::of(&artifact(&[MODULE])[MANIFEST])
}

#[test]
fn an_image_that_is_signed_will_do() {
    let (ours, theirs) = (Signer::new(), Signer::new());
    let text = statement(digest());
    let both = [(text.clone(), theirs.sign(&text)), (text.clone(), ours.sign(&text))];
    let registry = Registry::of(signed(&both));
    registry.pull_verified("app", &[Verify::Key(ours.public())]).unwrap();
    registry.pull_verified("app", &[Verify::Key(ours.public()), Verify::Key(theirs.public())]).unwrap();
    let verify = [Verify::Key(ours.public()), Verify::Key(Signer::new().public())];
    assert!(matches!(registry.pull_verified("app", &verify), Err(ImageError::Unsigned { .. })));
}

#[test]
fn an_image_that_is_not_will_not() {
    let ours = Signer::new();
    let (text, other) = (statement(digest()), statement(Digest::of(b"other")));
    let kind = text.replace("cosign container", "another");
    let cases: [(&str, Vec<(String, String)>); 7] = [
        ("there is none", vec![]),
        ("somebody else's", vec![(text.clone(), Signer::new().sign(&text))]),
        ("of another image", vec![(other.clone(), ours.sign(&other))]),
        ("of another statement", vec![(text.clone(), ours.sign(&other))]),
        ("of another kind", vec![(kind.clone(), ours.sign(&kind))]),
        ("not base64", vec![(text.clone(), "!".to_owned())]),
        ("of nothing", vec![(text.clone(), String::new())]),
    ];
    for (what, signatures) in cases {
        let pulled = Registry::of(signed(&signatures)).pull_verified("app", &[Verify::Key(ours.public())]);
        assert!(matches!(pulled, Err(ImageError::Unsigned { .. })), "{what}: {pulled:?}");
    }
    let unsigned = Registry::of(artifact(&[MODULE])).pull_verified("app", &[Verify::Key(ours.public())]);
    assert!(matches!(unsigned, Err(ImageError::Unsigned { .. })));
}

#[test]
fn keys_are_read_and_other_conditions_refused() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let key = pem("302a300506032b6570032100", pair.public_key().as_ref());
    let text = statement(digest());
    let signature = STANDARD.encode(pair.sign(text.as_bytes()).as_ref());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.pub");
    std::fs::write(&file, &key).unwrap();
    let verify: Verify = format!("key={}", file.display()).parse().unwrap();
    Registry::of(signed(&[(text, signature)])).pull_verified("app", &[verify]).unwrap();

    assert!(PublicKey::from_pem(key.replace("PUBLIC", "PRIVATE").as_bytes()).is_none());
    assert!(PublicKey::from_pem(b"").is_none());
    std::fs::write(&file, "no key").unwrap();
    assert!(matches!(format!("key={}", file.display()).parse::<Verify>(), Err(ImageError::Key { .. })));
    for text in ["", "key", "key=", "sha512:00", "keyless", "cosign", "none"] {
        assert!(matches!(text.parse::<Verify>(), Err(ImageError::Verify { .. })), "{text}");
    }
    assert!(matches!("sha256:00".parse::<Verify>(), Err(ImageError::Digest(_))));
    assert!(matches!("key=/nowhere".parse::<Verify>(), Err(ImageError::File { .. })));
}
