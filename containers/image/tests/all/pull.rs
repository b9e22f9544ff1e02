//! What is pulled, and what is refused, of images that are what they say.

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
    // Both the index and what was taken of it will do.
    for digest in [pulled.digest, Digest::of(&wasm[MANIFEST])] {
        Registry::of(content.clone()).pull_verified("app", &[Verify::Digest(digest)]).unwrap();
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
