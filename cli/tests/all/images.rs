//! Guests as images, against a registry that others use, too.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::registry::Registry;
use crate::support::served::Served;
use crate::support::{Ended, Files, backends, end, wharf};

/// `wharf` with these arguments, and without the caller's credentials.
fn run(args: &[&str]) -> Ended {
    end(wharf(args).env("DOCKER_CONFIG", "/nowhere"))
}

fn printed(args: &[&str]) -> String {
    let ended = run(args);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{args:?}: {ended:?}");
    ended.out.trim_end().to_owned()
}

/// That a command fails with this code and one line that has all of `parts`.
fn refused(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!((ended.code, &*ended.out), (Some(code), ""), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "{part:?} is missing: {ended:?}");
    }
}

/// The handler of the suite, as a file.
fn guest(files: &Files) -> String {
    files.write("hello.wasm", wharf_guests::HELLO_HTTP.wasm().expect("the guest is there"))
}

fn in_files(files: &Files, name: &str) -> String {
    files.path().join(name).into_os_string().into_string().unwrap()
}

fn json(registry: &Registry, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(registry.blob(digest)).expect("the registry has it")).unwrap()
}

fn digest(value: &Value) -> &str {
    value["digest"].as_str().expect("a digest")
}

#[test]
fn what_is_pushed_is_pulled_by_tag_and_by_digest() {
    let (files, registry) = (Files::new(), Registry::start());
    let (guest, out) = (guest(&files), in_files(&files, "pulled.wasm"));
    for shape in ["artifact", "image"] {
        let tagged = registry.image(&format!("team/{shape}:1.0"));
        let pinned = printed(&["push", "--as", shape, &guest, &tagged]);
        let repository = registry.image(&format!("team/{shape}@sha256:"));
        assert!(pinned.starts_with(&repository), "{pinned}");
        for image in [&tagged, &pinned, tagged.strip_prefix("oci://").unwrap()] {
            assert_eq!(printed(&["pull", "-o", &out, image]), pinned, "{image}");
            assert_eq!(fs::read(&out).unwrap(), fs::read(&guest).unwrap(), "{image}");
            fs::remove_file(&out).unwrap();
        }
        // Another guest takes the tag, and the digest is what it was.
        let other = files.wat("other.wasm", "(module)");
        let moved = printed(&["push", "--as", shape, &other, &tagged]);
        assert_ne!(moved, pinned);
        assert_eq!(printed(&["pull", "-o", &out, &tagged]), moved);
        assert_eq!(fs::read(&out).unwrap(), fs::read(&other).unwrap());
        printed(&["pull", "-o", &out, &pinned]);
        assert_eq!(fs::read(&out).unwrap(), fs::read(&guest).unwrap());
    }
    refused(&run(&["pull", "-o", &out, &registry.image("team/none")]), 1, &["the manifest latest", "MANIFEST_UNKNOWN"]);
}

#[test]
fn an_image_is_served_on_every_backend() {
    let (files, registry) = (Files::new(), Registry::start());
    let (guest, cache) = (guest(&files), in_files(&files, "cache"));
    let tagged = registry.image("hello:1");
    let pinned = printed(&["push", &guest, &tagged]);
    for backend in backends() {
        let served = Served::start(&["--backend", backend, "--cache-dir", &cache, &tagged]);
        assert_eq!(served.get("/x").unwrap(), (200, "hello from /x\n".to_owned()), "{backend}");
    }
    let listed: Value =
        serde_json::from_str(&printed(&["cache", "list", "--cache-dir", &cache, "--format", "json"])).unwrap();
    let kinds: Vec<&str> = listed["entries"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "image").count(), 1, "{listed}");
    // What is pinned and kept needs no registry; a tag does.
    drop(registry);
    for backend in backends() {
        let served = Served::start(&["--backend", backend, "--cache-dir", &cache, &pinned]);
        assert_eq!(served.get("/y").unwrap(), (200, "hello from /y\n".to_owned()), "{backend}");
        let ended = run(&["serve", "--backend", backend, "--cache-dir", &cache, &tagged]);
        refused(&ended, 1, &["cannot pull", "refused the connection"]);
    }
}

#[test]
fn an_image_stands_where_a_file_does() {
    let (files, registry) = (Files::new(), Registry::start());
    let guest = guest(&files);
    let image = registry.image("hello");
    printed(&["push", &guest, &image]);
    let of_file: Value = serde_json::from_str(&printed(&["inspect", "--format", "json", &guest])).unwrap();
    let mut of_image: Value = serde_json::from_str(&printed(&["inspect", "--format", "json", &image])).unwrap();
    assert_eq!(of_image["file"], image);
    of_image["file"] = of_file["file"].clone();
    assert_eq!(of_image, of_file);
    let cache = in_files(&files, "cache");
    printed(&["compile", "--emit", "cache", "--cache-dir", &cache, &image]);
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 2, "the guest, and its code");
    let component = files.write("component.wasm", crate::support::served::component());
    let image = registry.image("component");
    printed(&["push", "--as", "artifact", &component, &image]);
    let cores = ["of-file.wasm", "of-image.wasm"].map(|name| in_files(&files, name));
    for (from, to) in [&component, &image].into_iter().zip(&cores) {
        printed(&["compile", "-o", to, from]);
    }
    assert_eq!(fs::read(&cores[0]).unwrap(), fs::read(&cores[1]).unwrap());
    let command = files.wat("command.wasm", r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    let image = registry.image("command");
    printed(&["push", "--as", "artifact", &command, &image]);
    for backend in backends() {
        printed(&["run", "--backend", backend, "--no-cache", &image, "its-argument"]);
    }
}

#[test]
fn what_was_tampered_with_is_refused() {
    let (files, registry) = (Files::new(), Registry::start());
    let (guest, out, cache) = (guest(&files), in_files(&files, "pulled.wasm"), in_files(&files, "cache"));
    for shape in ["artifact", "image"] {
        let tagged = registry.image(&format!("{shape}:1"));
        let pinned = printed(&["push", "--as", shape, &guest, &tagged]);
        let root = pinned.split_once('@').unwrap().1;
        let mut manifest = json(&registry, root);
        if shape == "image" {
            manifest = json(&registry, digest(&manifest["manifests"][0]));
        }
        let layer = digest(&manifest["layers"][0]).to_owned();
        // One byte of the layer, in the middle.
        let swap = |content: &mut Vec<u8>| {
            let middle = content.len() / 2;
            content[middle] ^= 1;
        };
        registry.tamper(&layer, swap);
        for image in [&tagged, &pinned] {
            let named = format!("the layer {layer}");
            refused(&run(&["pull", "-o", &out, image]), 1, &[&named, "has the digest"]);
            let serve = ["serve", "--addr", "127.0.0.1:0", "--cache-dir", &cache, image];
            refused(&run(&serve), 1, &[&named, "has the digest"]);
        }
        registry.tamper(&layer, swap);
        printed(&["pull", "-o", &out, &tagged]);
        fs::remove_file(&out).unwrap();
        // A size in the manifest: it is as valid as before, and only its digest says that it is another.
        registry.tamper(root, |content| {
            let at = content.windows(5).position(|five| five == b"size\"").unwrap() + 6;
            content[at] = if content[at] == b'9' { b'8' } else { content[at] + 1 };
        });
        for image in [&tagged, &pinned] {
            refused(&run(&["pull", "-o", &out, image]), 1, &["cannot pull", "has the digest"]);
        }
        assert!(!fs::exists(&out).unwrap());
    }
}

/// Whether a process that has not ended is in this group.
fn is_running(group: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let after: Vec<&str> = stat.rsplit_once(") ").map_or_else(Vec::new, |(_, after)| after.split(' ').collect());
        after.get(2) == Some(&group) && after.first() != Some(&"Z")
    })
}

#[test]
fn credentials_are_asked_for_and_given() {
    let (files, registry) = (Files::new(), Registry::with_password());
    let (guest, out) = (guest(&files), in_files(&files, "pulled.wasm"));
    let image = registry.image("hello:1");
    refused(&run(&["push", &guest, &image]), 1, &[&registry.host, "docker login"]);
    let with = |config: &str, args: &[&str]| {
        files.write("config.json", config);
        let path = format!("{}:{}", files.path().display(), std::env::var("PATH").unwrap());
        end(wharf(args).env("DOCKER_CONFIG", files.path()).env("PATH", path))
    };
    let auth = |auth: &str| format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", registry.host);
    // `user:wrong`, then `user:secret`.
    refused(
        &with(&auth("dXNlcjp3cm9uZw=="), &["push", &guest, &image]),
        1,
        &[&registry.host, "does not take the credentials"],
    );
    let right = auth("dXNlcjpzZWNyZXQ=");
    let pushed = with(&right, &["push", &guest, &image]);
    assert_eq!((pushed.code, &*pushed.err), (Some(0), ""), "{pushed:?}");
    refused(&run(&["pull", "-o", &out, &image]), 1, &[&registry.host, "docker login"]);
    let helper =
        files.write("docker-credential-test", "#!/bin/sh\necho '{\"Username\":\"user\",\"Secret\":\"secret\"}'\n");
    fs::set_permissions(helper, fs::Permissions::from_mode(0o755)).unwrap();
    for config in [&*right, "{\"credsStore\":\"test\"}"] {
        let pulled = with(config, &["pull", "-o", &out, &image]);
        assert_eq!((pulled.code, &*pulled.err), (Some(0), ""), "{config}: {pulled:?}");
        assert_eq!(fs::read(&out).unwrap(), fs::read(&guest).unwrap());
        fs::remove_file(&out).unwrap();
    }
    // Ctrl-C ends a helper that hangs, with what it has started.
    let mark = in_files(&files, "mark");
    files.write(
        "docker-credential-test",
        format!("#!/bin/sh\necho $$ > {mark}.new\nmv {mark}.new {mark}\nsleep 1000\n"),
    );
    for command in [&["pull", "-o", &out, &image][..], &["serve", &image], &["run", &image]] {
        files.write("config.json", "{\"credsStore\":\"test\"}");
        let path = format!("{}:{}", files.path().display(), std::env::var("PATH").unwrap());
        let mut waits = wharf(command).env("DOCKER_CONFIG", files.path()).env("PATH", path).spawn().unwrap();
        let group = loop {
            match fs::read_to_string(&mark) {
                Ok(group) => break group.trim().to_owned(),
                Err(_) => assert_eq!(waits.try_wait().unwrap(), None, "it has not asked"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        fs::remove_file(&mark).unwrap();
        assert!(Command::new("kill").args(["-INT", &waits.id().to_string()]).status().unwrap().success());
        assert_eq!(waits.wait().unwrap().code(), Some(130), "{command:?}");
        // What it started has been killed, and is about to be gone.
        let begun = Instant::now();
        while is_running(&group) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{command:?} leaves its helper");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    refused(&with("{", &["pull", "-o", &out, &image]), 1, &["config.json", "not a valid configuration"]);
    refused(&with("{\"credsStore\":\"none\"}", &["pull", "-o", &out, &image]), 1, &["docker-credential-none"]);
}

#[test]
fn only_what_is_verified_is_used() {
    let (files, registry) = (Files::new(), Registry::start());
    let (guest, out) = (guest(&files), in_files(&files, "pulled.wasm"));
    let image = registry.image("hello:1");
    let pinned = printed(&["push", &guest, &image]);
    let (_, right) = pinned.split_once('@').unwrap();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let pull = |verify: &str| run(&["pull", "-o", &out, "--verify", verify, &image]);
    assert_eq!(pull(right).code, Some(0));
    fs::remove_file(&out).unwrap();
    refused(&pull(&wrong), 1, &["cannot pull", right, &wrong]);
    // The public half of a key that nobody has signed with.
    let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let key = format!("key={}", files.write("key.pub", key));
    refused(&pull(&key), 1, &["is not signed with the key"]);
    for serve in ["serve", "run", "inspect"] {
        refused(&run(&[serve, "--verify", &key, &image]), 1, &["is not signed with the key"]);
        refused(&run(&[serve, "--verify", right, &guest]), 2, &["--verify is for images"]);
    }
    assert!(!fs::exists(&out).unwrap());
    for form in ["", "cosign", "keyless", "key=", "sha512:00", "key=/nowhere"] {
        assert_eq!(pull(form).code, Some(2), "{form}");
    }
}

#[test]
fn a_package_is_a_layout() {
    let files = Files::new();
    let (guest, conf) = (guest(&files), files.write("app.conf", "hello"));
    let (tar, directory) = (in_files(&files, "app.tar"), format!("{}/", in_files(&files, "layout")));
    let file = format!("{conf}::/etc/app.conf");
    let options = ["--tag", "example.com/app:1", "--file", &file, "--port", "8080", "-e", "A=b", "--arg", "-v"];
    let written = printed(&[&["package", "-o", &tar][..], &options, &[&guest]].concat());
    assert_eq!(printed(&[&["package", "-o", &directory][..], &options, &[&guest]].concat()), written);
    let index: Value = serde_json::from_slice(&fs::read(format!("{directory}index.json")).unwrap()).unwrap();
    assert_eq!(digest(&index["manifests"][0]), written);
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "example.com/app:1");
    let first = fs::read(&tar).unwrap();
    printed(&[&["package", "-o", &tar][..], &options, &[&guest]].concat());
    assert_eq!(fs::read(&tar).unwrap(), first);
    refused(&run(&["package", "-o", &tar, &conf]), 1, &["app.conf", "neither a WebAssembly module nor a component"]);
    refused(&run(&["package", "-o", &tar, "--as", "artifact", "--port", "1", &guest]), 1, &["no place for ports"]);
    let twice = ["--file", &file, "--file", &file];
    refused(&run(&[&["package", "-o", &tar][..], &twice, &[&guest]].concat()), 2, &["/etc/app.conf"]);
    // What an image says of itself, and what a directory adds to it.
    let (inner, told) =
        (files.path().join("inner"), ["--label", "l=m", "--annotation", "a=b", "--platform", "linux/arm/v7"]);
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("x"), "y").unwrap();
    let here = |file: &str| {
        let mut command = wharf(&[&["package", "-o", &directory, "--file", file][..], &told, &[&guest]].concat());
        end(command.current_dir(&inner))
    };
    for file in [".", "./", "./x", "x", ".//x"] {
        let packed = here(file);
        assert_eq!((packed.code, &*packed.err), (Some(0), ""), "{file}: {packed:?}");
        let read = |digest: &str| fs::read(format!("{directory}blobs/sha256/{}", &digest[7..])).unwrap();
        let document = |digest: &str| -> Value { serde_json::from_slice(&read(digest)).unwrap() };
        let manifest = document(packed.out.trim_end());
        assert_eq!(manifest["annotations"], serde_json::json!({ "a": "b" }));
        let config = document(digest(&manifest["config"]));
        let platform = ["os", "architecture", "variant"].map(|part| config[part].as_str().unwrap());
        assert_eq!((platform, &config["config"]["Labels"]["l"]), (["linux", "arm", "v7"], &"m".into()));
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&read(digest(&manifest["layers"][0]))[..]).read_to_end(&mut tar).unwrap();
        let mut archive = tar::Archive::new(&tar[..]);
        let names = archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned());
        assert_eq!(names.collect::<Vec<_>>(), ["hello.wasm", "x"], "{file}");
    }
    for file in ["..", "../app.conf", "./../x"] {
        refused(&here(file), 2, &[&format!("{file}::PATH")]);
    }
    // What is too large is not read, and not cut.
    for (bytes, options, told) in [
        ((256_u64 << 20) + 1, &[][..], ["large.wasm", "has 268435457 bytes; a guest may have 268435456"]),
        ((1 << 30) + 1, &["--file"], ["large.wasm", "more than 1073741824 bytes"]),
    ] {
        let large = files.write("large.wasm", b"\0asm\x01\0\0\0");
        fs::File::options().write(true).open(&large).unwrap().set_len(bytes).unwrap();
        let packed = if options.is_empty() { vec![&*large] } else { vec!["--file", &large, &guest] };
        refused(&run(&[&["package", "-o", &tar][..], &packed].concat()), 1, &told);
    }
    for wrong in [["--platform", "wasi"], ["--file", "a::b"], ["--label", "x"], ["--port", "0"]] {
        assert_eq!(run(&[&["package", "-o", &tar][..], &wrong, &[&guest]].concat()).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_registry_is_asked_as_the_options_say() {
    let (files, registry) = (Files::new(), Registry::start());
    let (guest, out) = (guest(&files), in_files(&files, "pulled.wasm"));
    // This address is no loopback address, and yet leads here.
    let elsewhere = format!("oci://{}/hello:1", registry.host.replace("127.0.0.1", "0.0.0.0"));
    refused(&run(&["push", &guest, &elsewhere]), 1, &["cannot push", "does not speak tls"]);
    let pinned = printed(&["push", "--plain-http", &guest, &elsewhere]);
    refused(&run(&["pull", "-o", &out, &elsewhere]), 1, &["cannot pull", "does not speak tls"]);
    assert_eq!(printed(&["pull", "--plain-http", "-o", &out, &elsewhere]), pinned);
    // It takes the connection, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("oci://{}/hello", silent.local_addr().unwrap());
    for command in [&["pull", "-o", &out][..], &["serve"], &["push", &guest]] {
        let command = [command, &["--registry-timeout", "200ms", &image]].concat();
        refused(&run(&command), 1, &["was not done within 200ms"]);
    }
}

#[test]
fn what_is_not_an_image_is_refused() {
    let files = Files::new();
    let out = in_files(&files, "out.wasm");
    for image in ["oci://", "oci://app", "oci://host/App", "oci://host/app@sha256:00", "oci://user@host/app"] {
        assert_eq!(run(&["pull", "-o", &out, image]).code, Some(2), "{image}");
        for command in ["serve", "run", "inspect"] {
            refused(&run(&[command, image]), 2, &["is not a valid"]);
        }
    }
}
