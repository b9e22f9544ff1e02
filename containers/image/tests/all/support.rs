//! A registry that says whatever a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_executor::block_on;
use serde_json::{Value, json};
use wharf_image::{Client, ClientOptions, Digest, DockerConfig, ImageError, Pulled, Reference, Verify};

/// The smallest module.
pub(crate) const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A request, as far as tests look at it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// What is answered: status and headers as they are sent, and a body.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the body goes on for ever.
    pub(crate) endless: bool,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Answer { head: format!("200 OK\r\ncontent-length: {}", body.len()), body, endless: false }
    }

    pub(crate) fn status(head: &str) -> Self {
        Answer { head: format!("{head}\r\ncontent-length: 0"), body: Vec::new(), endless: false }
    }
}

/// A registry of one's own, on a port of this machine. It ends with the process.
pub(crate) struct Registry {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Registry {
    pub(crate) fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, all) = (Arc::new(answer), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, all) = (answer.clone(), all.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), &*answer, &all));
            }
        });
        Registry { host, seen }
    }

    /// A registry that has these documents and blobs, and nothing else. A document is named by its path.
    pub(crate) fn of(content: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start(move |seen| found(&content, seen))
    }

    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("oci://{}/{rest}", self.host).parse().unwrap()
    }

    pub(crate) fn pull(&self, rest: &str) -> Result<Pulled, ImageError> {
        self.pull_verified(rest, &[])
    }

    pub(crate) fn pull_verified(&self, rest: &str, verify: &[Verify]) -> Result<Pulled, ImageError> {
        block_on(client().pull(&self.reference(rest), verify, None))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn client() -> Client {
    let mut options = ClientOptions::default();
    options.timeout = Duration::from_secs(20);
    options.max_guest_bytes = 1 << 20;
    Client::new(options)
}

/// A client with a configuration that docker could have written, in a directory of its own.
pub(crate) fn client_of(config: &str, change: impl FnOnce(&mut ClientOptions)) -> (tempfile::TempDir, Client) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), config).unwrap();
    let mut options = ClientOptions::default();
    options.timeout = Duration::from_secs(20);
    options.credentials = Some(DockerConfig::in_directory(directory.path()));
    change(&mut options);
    (directory, Client::new(options))
}

pub(crate) fn found(content: &BTreeMap<String, Vec<u8>>, seen: &Seen) -> Answer {
    match content.get(&seen.path) {
        Some(content) => Answer::ok(content.clone()),
        None => Answer::status("404 Not Found"),
    }
}

fn serve(mut stream: &TcpStream, answer: &dyn Fn(&Seen) -> Answer, all: &Mutex<Vec<Seen>>) {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    if lines.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let (mut authorization, mut length) = (None, 0);
    loop {
        line.clear();
        lines.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = Some(value.to_owned()),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    lines.take(length).read_to_end(&mut body).unwrap();
    let seen = Seen { method, path, authorization, body };
    all.lock().unwrap().push(seen.clone());
    let Answer { head, body, endless } = answer(&seen);
    // The client may have had enough.
    let mut sent =
        write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").and_then(|()| stream.write_all(&body));
    while endless && sent.is_ok() {
        sent = stream.write_all(&[b' '; 4096]);
    }
}

/// The same image, but for a text in its configuration or manifest.
pub(crate) fn renamed(content: &BTreeMap<String, Vec<u8>>, from: &str, to: &str) -> BTreeMap<String, Vec<u8>> {
    let text = |path: &str| String::from_utf8(content[path].clone()).unwrap();
    let manifest = text(MANIFEST);
    let parsed: Value = serde_json::from_str(&manifest).unwrap();
    let config = text(&format!("/v2/app/blobs/{}", parsed["config"]["digest"].as_str().unwrap()));
    let changed = config.replace(from, to);
    let manifest = manifest.replace(from, to);
    let digests = [&config, &changed].map(|text| Digest::of(text.as_bytes()).to_string());
    let manifest = manifest.replace(&digests[0], &digests[1]);
    let manifest = manifest.replace(&format!("\"size\":{}}}", config.len()), &format!("\"size\":{}}}", changed.len()));
    let mut content = content.clone();
    content.insert(MANIFEST.to_owned(), manifest.into());
    content.insert(blob(changed.as_bytes()), changed.into());
    content
}

/// A descriptor of `content`.
pub(crate) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content), "size": content.len() })
}

pub(crate) const MANIFEST: &str = "/v2/app/manifests/latest";

pub(crate) fn blob(content: &[u8]) -> String {
    format!("/v2/app/blobs/{}", Digest::of(content))
}

/// An artifact with these layers, which are all of `application/wasm`.
pub(crate) fn artifact(layers: &[&[u8]]) -> BTreeMap<String, Vec<u8>> {
    let config = b"{}";
    let manifest = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.wasm.config.v0+json", config),
        "layers": layers.iter().map(|layer| descriptor("application/wasm", layer)).collect::<Vec<_>>(),
    });
    let mut content = BTreeMap::from([(MANIFEST.to_owned(), manifest.to_string().into_bytes())]);
    content.insert(blob(config), config.to_vec());
    content.extend(layers.iter().map(|layer| (blob(layer), layer.to_vec())));
    content
}

/// An ordinary image with these layers, which are plain tars, and this entrypoint.
pub(crate) fn image(entrypoint: &str, layers: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
    let config = json!({
        "architecture": "wasm", "os": "wasi",
        "config": { "Entrypoint": [entrypoint] },
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| Digest::of(layer)).collect::<Vec<_>>() },
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect::<Vec<_>>(),
    });
    let mut content = BTreeMap::from([(MANIFEST.to_owned(), manifest.to_string().into_bytes())]);
    content.insert(blob(config.as_bytes()), config.clone().into_bytes());
    content.extend(layers.iter().map(|layer| (blob(layer), layer.clone())));
    content
}
