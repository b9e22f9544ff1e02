//! What is pulled, and what is refused, of images that are what they say.

use std::io::Write;
use std::sync::Mutex;

use bytes::Bytes;
use futures_executor::block_on;
use serde_json::json;
use tar::{EntryType, Header};
use wharf_image::{Digest, ImageError, Store, Verify};

use crate::support::*;

/// A tar of these entries: kind, path, content, or what a link leads to.
fn tar(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (kind, path, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(0);
        // Past what the library would refuse to write.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content);
        } else {
            header.set_size(content.len() as u64);
        }
        header.set_cksum();
        tar.append(&header, if header.size().unwrap() == 0 { &[] } else { *content }).unwrap();
    }
    tar.into_inner().unwrap()
}

const FILE: EntryType = EntryType::Regular;

fn other() -> Vec<u8> {
    [MODULE, b"\0\x02\x01x"].concat()
}

fn pulled(entrypoint: &str, layers: &[Vec<u8>]) -> Result<Vec<u8>, ImageError> {
    Registry::of(image(entrypoint, layers)).pull("app").map(|pulled| pulled.wasm.to_vec())
}

#[test]
fn an_artifact_is_its_one_layer() {
    let content = artifact(&[MODULE]);
    let digest = Digest::of(&content[MANIFEST]);
    let pulled = Registry::of(content).pull("app").unwrap();
    assert_eq!((pulled.digest, &pulled.wasm[..]), (digest, MODULE));
}

#[test]
fn there_may_be_time_without_end() {
    let registry = Registry::of(artifact(&[MODULE]));
    let mut options = wharf_image::ClientOptions::default();
    (options.timeout, options.pause) = (std::time::Duration::MAX, std::time::Duration::MAX);
    let pulled = block_on(wharf_image::Client::new(options).pull(&registry.reference("app"), &[], None));
    assert_eq!(pulled.unwrap().wasm, MODULE);
}

#[test]
fn the_layers_of_runwasi_are_read() {
    for kind in ["component", "module"] {
        let mut content = artifact(&[MODULE]);
        let manifest = String::from_utf8(content[MANIFEST].clone()).unwrap();
        let layer = format!("application/vnd.bytecodealliance.wasm.{kind}.layer.v0+wasm");
        content.insert(MANIFEST.to_owned(), manifest.replace("\"application/wasm\"", &format!("{layer:?}")).into());
        assert_eq!(Registry::of(content).pull("app").unwrap().wasm, MODULE);
    }
}

#[test]
fn an_image_is_its_entrypoint() {
    let layer = tar(&[(FILE, "etc/conf", b"x"), (FILE, "./app.wasm", MODULE)]);
    for entrypoint in ["/app.wasm", "app.wasm", "./app.wasm", "//./app.wasm"] {
        assert_eq!(pulled(entrypoint, std::slice::from_ref(&layer)).unwrap(), MODULE, "{entrypoint}");
    }
    // Names that are too long for a header, as GNU and as POSIX have them.
    let long = format!("{}/app.wasm", "d".repeat(90).repeat(3));
    let mut header = Header::new_gnu();
    header.set_size(MODULE.len() as u64);
    let mut gnu = tar::Builder::new(Vec::new());
    gnu.append_data(&mut header.clone(), &long, MODULE).unwrap();
    let mut posix = tar::Builder::new(Vec::new());
    posix.append_pax_extensions([("mtime", &b"1"[..]), ("path", long.as_bytes())]).unwrap();
    posix.append_data(&mut header, "short", MODULE).unwrap();
    for archive in [gnu, posix] {
        let layer = archive.into_inner().unwrap();
        assert_eq!(pulled(&long, std::slice::from_ref(&layer)).unwrap(), MODULE);
        assert!(matches!(pulled("short", &[layer]), Err(ImageError::Entrypoint { .. })));
    }
}

#[test]
fn higher_layers_decide() {
    let other = other();
    let below = tar(&[(FILE, "app/a.wasm", &other)]);
    let with = |entries: &[(EntryType, &str, &[u8])]| pulled("/app/a.wasm", &[below.clone(), tar(entries)]);
    assert_eq!(with(&[(FILE, "app/a.wasm", MODULE)]).unwrap(), MODULE);
    assert_eq!(with(&[(FILE, "app/b.wasm", MODULE)]).unwrap(), other);
    assert_eq!(with(&[(EntryType::Directory, "app/", b"")]).unwrap(), other);
    assert_eq!(with(&[(FILE, "other/.wh.a.wasm", b""), (FILE, "app/.wh.b", b"")]).unwrap(), other);
    assert_eq!(with(&[(FILE, "app/a.wasm/.wh..wh..opq", b"")]).unwrap(), other);
    // What a layer removes is what is below it, wherever in it that stands.
    for removes in ["app/.wh.a.wasm", ".wh.app", "app/.wh..wh..opq", ".wh..wh..opq"] {
        let error = with(&[(FILE, removes, b"")]).unwrap_err();
        assert!(matches!(error, ImageError::Entrypoint { .. }), "{removes}: {error}");
        assert_eq!(with(&[(FILE, "app/a.wasm", MODULE), (FILE, removes, b"")]).unwrap(), MODULE, "{removes}");
    }
}

#[test]
fn no_path_leads_elsewhere() {
    let other = other();
    for entrypoint in ["", "/", ".", "../app.wasm", "/a/../app.wasm"] {
        let error = pulled(entrypoint, &[tar(&[(FILE, "app.wasm", MODULE)])]).unwrap_err();
        assert!(matches!(error, ImageError::Entrypoint { .. }), "{entrypoint}: {error}");
    }
    // Entries that lead up are not what they would lead to.
    let up = tar(&[(FILE, "app.wasm", MODULE), (FILE, "x/../app.wasm", &other), (FILE, "../app.wasm", &other)]);
    assert_eq!(pulled("/app.wasm", &[up]).unwrap(), MODULE);
    let below = tar(&[(FILE, "a/app.wasm", MODULE)]);
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Fifo, EntryType::Char, EntryType::Directory] {
        let above = tar(&[(kind, "a/app.wasm", b"/etc/passwd")]);
        assert!(
            matches!(pulled("/a/app.wasm", &[below.clone(), above]), Err(ImageError::Entrypoint { .. })),
            "{kind:?}"
        );
    }
    let above = tar(&[(EntryType::Symlink, "a", b"/etc")]);
    assert!(matches!(pulled("/a/app.wasm", &[below, above]), Err(ImageError::Entrypoint { .. })));
}

#[test]
fn a_layer_costs_no_more_than_it_may() {
    // A guest that is too large, and the name of an entry that is.
    let large = tar(&[(FILE, "app.wasm", &[MODULE, &vec![0; 1 << 20]].concat())]);
    assert!(matches!(pulled("/app.wasm", &[large]), Err(ImageError::TooLarge { .. })));
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(512 << 10);
    header.set_cksum();
    archive.append(&header, &vec![b'a'; 512 << 10][..]).unwrap();
    let error = pulled("/app.wasm", &[archive.into_inner().unwrap()]).unwrap_err();
    assert!(matches!(error, ImageError::Layer { .. }), "{error}");
    let error = pulled("/app.wasm", &[b"not a tar".repeat(1000)]).unwrap_err();
    assert!(matches!(error, ImageError::Layer { .. }), "{error}");
    assert!(matches!(pulled("/app.wasm", &vec![Vec::new(); 129]), Err(ImageError::NoGuest { .. })));
}

#[test]
fn what_an_extension_has_is_read_by_its_length() {
    // Read by lines, this names the guest; by lengths, it is a comment.
    let value = b"x\n17 path=app.wasm\n";
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_pax_extensions([("comment", &value[..])]).unwrap();
    let mut header = Header::new_gnu();
    header.set_size(MODULE.len() as u64);
    archive.append_data(&mut header, "other.wasm", MODULE).unwrap();
    let layer = archive.into_inner().unwrap();
    assert!(matches!(pulled("/app.wasm", std::slice::from_ref(&layer)), Err(ImageError::Entrypoint { .. })));
    assert_eq!(pulled("/other.wasm", &[layer]).unwrap(), MODULE);
    for wrong in ["9 path=a", "99 path=a\n", "0 \n", "x path=a\n", "9path=a\n", "+9 path=a\n", "7 path\n"] {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(wrong.len() as u64);
        header.set_cksum();
        archive.append(&header, wrong.as_bytes()).unwrap();
        let error = pulled("/app.wasm", &[archive.into_inner().unwrap()]).unwrap_err();
        assert!(matches!(error, ImageError::Layer { .. }), "{wrong:?}: {error}");
    }
}

#[test]
fn a_layer_is_decompressed_while_there_is_time() {
    // Less than 2 MiB that are 1 GiB, and take seconds.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..128 {
        gzip.write_all(&[0; 8 << 10]).unwrap();
    }
    let bomb = gzip.finish().unwrap().repeat(1024);
    let mut content = image("/app.wasm", std::slice::from_ref(&bomb));
    content = renamed(&content, "layer.v1.tar\"", "layer.v1.tar+gzip\"");
    let registry = Registry::of(content);
    let mut options = wharf_image::ClientOptions::default();
    options.timeout = std::time::Duration::from_millis(500);
    let error = block_on(wharf_image::Client::new(options).pull(&registry.reference("app"), &[], None)).unwrap_err();
    assert!(matches!(error, ImageError::Late { .. }), "{error}");
}

#[test]
fn what_a_layer_unpacks_to_is_checked() {
    let layer = tar(&[(FILE, "app.wasm", MODULE)]);
    let mut content = image("/app.wasm", std::slice::from_ref(&layer));
    // The configuration says another digest, and the manifest says that of this configuration.
    let config = content.values().find(|text| text.starts_with(b"{\"architecture")).unwrap().clone();
    let text = String::from_utf8(config.clone()).unwrap();
    let changed = text.replace(&Digest::of(&layer).to_string(), &Digest::of(b"").to_string());
    let manifest = String::from_utf8(content[MANIFEST].clone()).unwrap();
    let manifest = manifest.replace(&Digest::of(&config).to_string(), &Digest::of(changed.as_bytes()).to_string());
    content.insert(MANIFEST.to_owned(), manifest.into());
    content.insert(blob(changed.as_bytes()), changed.into());
    assert!(matches!(Registry::of(content).pull("app"), Err(ImageError::Mismatch { .. })));
}

#[test]
fn of_an_index_the_image_for_webassembly_is_taken() {
    let (wasm, linux) = (artifact(&[MODULE]), artifact(&[&other()]));
    let entry = |manifest: &[u8], os: &str, architecture: &str| {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
        entry["platform"] = json!({ "os": os, "architecture": architecture });
        entry
    };
    let named = |manifest: &[u8]| format!("/v2/app/manifests/{}", Digest::of(manifest));
    let index =
        |entries: serde_json::Value| json!({ "schemaVersion": 2, "manifests": entries }).to_string().into_bytes();
    let mut content = linux.clone();
    content.extend(wasm.clone());
    content.insert(named(&wasm[MANIFEST]), wasm[MANIFEST].clone());
    content.insert(named(&linux[MANIFEST]), linux[MANIFEST].clone());
    let both = json!([
        entry(&linux[MANIFEST], "linux", "s390x"),
        entry(&wasm[MANIFEST], "wasip1", "wasm"),
        entry(&linux[MANIFEST], "unknown", "unknown"),
    ]);
    content.insert(MANIFEST.to_owned(), index(both));
    let pulled = Registry::of(content.clone()).pull("app").unwrap();
    assert_eq!((pulled.digest, &pulled.wasm[..]), (Digest::of(&content[MANIFEST]), MODULE));
    // Both the index and what was taken of it will do, and the image is what has been verified.
    for digest in [pulled.digest, Digest::of(&wasm[MANIFEST])] {
        let verified = Registry::of(content.clone()).pull_verified("app", &[Verify::Digest(digest)]).unwrap();
        assert_eq!(verified.digest, digest);
    }
    let verify = [Verify::Digest(Digest::of(&linux[MANIFEST]))];
    let refused = Registry::of(content.clone()).pull_verified("app", &verify);
    assert!(matches!(refused, Err(ImageError::Unexpected { .. })));
    content.insert(MANIFEST.to_owned(), index(json!([entry(&linux[MANIFEST], "windows", "amd64")])));
    assert!(matches!(Registry::of(content).pull("app"), Err(ImageError::NoGuest { .. })));
}

#[derive(Default)]
struct Memory(Mutex<Vec<(Digest, Vec<u8>)>>);

impl Store for Memory {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        let kept = self.0.lock().unwrap();
        kept.iter().find(|(kept, _)| kept == digest).map(|(_, wasm)| wasm.clone().into())
    }

    fn put(&self, digest: &Digest, wasm: &[u8]) {
        self.0.lock().unwrap().push((*digest, wasm.to_vec()));
    }
}

#[test]
fn a_tag_is_asked_for_and_a_digest_may_be_kept() {
    let mut content = artifact(&[MODULE]);
    let digest = Digest::of(&content[MANIFEST]);
    content.insert(format!("/v2/app/manifests/{digest}"), content[MANIFEST].clone());
    let (registry, store) = (Registry::of(content), Memory::default());
    let pull = |rest: &str| block_on(client().pull(&registry.reference(rest), &[], Some(&store))).unwrap();
    assert_eq!(pull("app").digest, digest);
    assert_eq!(registry.seen().len(), 2);
    assert_eq!(pull("app").wasm, MODULE);
    assert_eq!(registry.seen().len(), 3, "the manifest alone is asked for");
    assert_eq!(pull(&format!("app@{digest}")).wasm, MODULE);
    assert_eq!(registry.seen().len(), 3, "nothing is asked for");
}
