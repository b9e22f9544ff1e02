//! Images as files: layouts, and what is in them.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;
use wharf_image::manifest::media;
use wharf_image::{Digest, Image, ImageError, Package, Shape};

use crate::support::MODULE;

fn tar(image: &Image, name: Option<&str>) -> Vec<u8> {
    let mut tar = Vec::new();
    image.write_tar(name, &mut tar).unwrap();
    tar
}

fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

fn json(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let content = &files[&format!("blobs/sha256/{digest}")];
    assert_eq!(descriptor["size"], content.len());
    assert_eq!(Digest::of(content).hex(), digest);
    serde_json::from_slice(content).unwrap()
}

#[test]
fn an_image_is_for_all_its_platforms() {
    let package = Package::new("app.wasm", MODULE, Shape::Image).arg("-v").env("A", "b").port(8080).label("l", "m");
    let package = package.file("/etc/app/conf", "hello").annotation("a", "b");
    let image = package.build().unwrap();
    let files = files(&tar(&image, Some("example.com/app:1")));
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let root = &index["manifests"][0];
    assert_eq!(root["annotations"]["io.containerd.image.name"], "example.com/app:1");
    assert_eq!(root["annotations"]["org.opencontainers.image.ref.name"], "1");
    assert_eq!(root["digest"], image.root().digest.to_string());
    let manifests = json(&files, root)["manifests"].clone();
    let platforms: Vec<String> = manifests.as_array().unwrap().iter().map(|m| m["platform"].to_string()).collect();
    assert_eq!(platforms.len(), 3);
    for entry in manifests.as_array().unwrap() {
        let manifest = json(&files, entry);
        assert_eq!(manifest["annotations"]["a"], "b");
        let config = json(&files, &manifest["config"]);
        assert_eq!(config["os"], entry["platform"]["os"]);
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/app.wasm", "-v"]));
        assert_eq!(config["config"]["Env"], serde_json::json!(["A=b"]));
        assert_eq!(config["config"]["ExposedPorts"], serde_json::json!({ "8080/tcp": {} }));
        assert_eq!(config["config"]["Labels"]["l"], "m");
    }
}

#[test]
fn the_same_package_is_the_same_image() {
    for shape in [Shape::Image, Shape::Artifact] {
        let build = || Package::new("app.wasm", MODULE, shape).build().unwrap();
        assert_eq!(tar(&build(), Some("a:b")), tar(&build(), Some("a:b")));
    }
    let one = Package::new("app.wasm", MODULE, Shape::Image).platform("linux/amd64".parse().unwrap());
    assert_eq!(one.build().unwrap().root().media_type, media::MANIFEST);
}

#[test]
fn an_artifact_says_what_its_guest_is() {
    let component = wat::parse_str("(component (import \"a:b/c\" (instance)) (export \"d\" (instance 0)))").unwrap();
    for (wasm, os) in [(MODULE.to_vec(), "wasip1"), (component, "wasip2")] {
        let image = Package::new("app.wasm", wasm.clone(), Shape::Artifact).build().unwrap();
        let files = files(&tar(&image, None));
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        assert_eq!(index["manifests"][0].get("annotations"), None);
        let manifest = json(&files, &index["manifests"][0]);
        assert_eq!(manifest["layers"][0]["mediaType"], media::WASM);
        assert_eq!(manifest["layers"][0]["digest"], Digest::of(&wasm).to_string());
        assert_eq!(manifest["config"]["mediaType"], media::WASM_CONFIG);
        let config = json(&files, &manifest["config"]);
        assert_eq!((config["architecture"].as_str(), config["os"].as_str()), (Some("wasm"), Some(os)));
        assert_eq!(config["layerDigests"][0], Digest::of(&wasm).to_string());
        let component = serde_json::json!({ "exports": ["d"], "imports": ["a:b/c"], "target": null });
        assert_eq!(config["component"], if os == "wasip2" { component } else { Value::Null });
    }
}

#[test]
fn a_directory_is_the_same_layout() {
    let image = Package::new("app.wasm", MODULE, Shape::Image).build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    image.write_directory(Some("a:b"), directory.path()).unwrap();
    for (path, content) in files(&tar(&image, Some("a:b"))) {
        let written = directory.path().join(&path);
        if !path.ends_with('/') {
            assert_eq!(std::fs::read(written).unwrap(), content, "{path}");
        }
    }
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let image = || Package::new("app.wasm", MODULE, Shape::Image);
    for path in ["", "/", "a", "/a/", "//a", "/../a", "/a/./b", "/a/.wh.b", "/app.wasm", "/app.wasm/a", "/a\0b"] {
        let refused = image().file(path, "x").build();
        assert!(matches!(refused, Err(ImageError::Package { .. })), "{path:?}");
    }
    for name in ["", "..", "a/../b"] {
        assert!(Package::new(name, MODULE, Shape::Image).build().is_err(), "{name}");
    }
    let artifact = || Package::new("app.wasm", MODULE, Shape::Artifact);
    for refused in [artifact().arg("x"), artifact().env("a", "b"), artifact().port(1), artifact().file("/a", "b")] {
        assert!(matches!(refused.build(), Err(ImageError::Package { .. })));
    }
    // What would not be read again: a guest, a layer, a configuration, a path.
    let large = image().max_guest_bytes(7).build().unwrap_err().to_string();
    assert!(large.contains("has 8 bytes; at most 7"), "{large}");
    let noise: String = (0..64_u8).map(|number| Digest::of(&[number]).hex()).collect();
    let layer = image().file("/noise", noise).max_guest_bytes(512).build().unwrap_err().to_string();
    assert!(layer.contains("its layer, compressed, has "), "{layer}");
    let label = image().label("a", "x".repeat(4 << 20)).build().unwrap_err().to_string();
    assert!(label.contains("its configuration has ") && label.contains("at most 4194304"), "{label}");
    let annotation = artifact().annotation("a", "x".repeat(4 << 20)).build().unwrap_err().to_string();
    assert!(annotation.contains("its manifest has "), "{annotation}");
    let path = image().file(format!("/{}", "a/".repeat(2048) + "a"), "x").build().unwrap_err().to_string();
    assert!(path.contains("a path has 4098 bytes; at most 4095"), "{path}");
    for wasm in [&b""[..], b"#!/bin/sh", b"\0asm", b"\0asm\x09\0\0\0"] {
        for shape in [Shape::Image, Shape::Artifact] {
            let refused = Package::new("app.wasm", wasm.to_vec(), shape).build();
            assert!(matches!(refused, Err(ImageError::NotWasm { .. })), "{wasm:?}");
        }
    }
}
