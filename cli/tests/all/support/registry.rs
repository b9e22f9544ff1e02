//! Debian's `docker-registry`, with a configuration and a port of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use super::Files;

/// What the registry lets in, where it asks: `user` with the password `secret`, as `htpasswd -B` writes it.
const USER: &str = "user:$2b$04$9FMn87fv89KNZ9BQzdPGpOis4WumEUkDSVytH4MwMnOZp/9rKyQIG\n";

/// A registry that runs until this is dropped.
pub(crate) struct Registry {
    child: Child,
    /// `127.0.0.1` and its port.
    pub(crate) host: String,
    files: Files,
    /// Not closed, so that nothing fails to be written.
    _log: BufReader<ChildStderr>,
}

impl Registry {
    /// Starts one that lets anybody in.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one that asks for a password.
    pub(crate) fn with_password() -> Self {
        Self::start_with("auth: { htpasswd: { realm: test, path: users } }\n")
    }

    fn start_with(more: &str) -> Self {
        let files = Files::new();
        files.write("users", USER);
        let config = format!(
            "version: 0.1\nlog: {{ accesslog: {{ disabled: true }} }}\nhttp: {{ addr: '127.0.0.1:0' }}\n\
             storage: {{ filesystem: {{ rootdirectory: data }} }}\n{more}"
        );
        files.write("config.yml", config);
        let mut command = Command::new("docker-registry");
        command.args(["serve", "config.yml"]).current_dir(files.path()).env("OTEL_TRACES_EXPORTER", "none");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("docker-registry is there: setup/registry.sh provides it");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut printed = String::new();
        let host = loop {
            let start = printed.len();
            assert!(log.read_line(&mut printed).expect("a line") > 0, "it does not serve: {printed}");
            if let Some((_, rest)) = printed[start..].split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().expect("an address").to_owned();
            }
        };
        Registry { child, host, files, _log: log }
    }

    /// An image in it.
    pub(crate) fn image(&self, rest: &str) -> String {
        format!("oci://{}/{rest}", self.host)
    }

    /// The file that has the blob with this digest.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        self.files.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Changes the blob with this digest, and not its size.
    pub(crate) fn tamper(&self, digest: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let file = self.blob(digest);
        let mut content = fs::read(&file).expect("the registry has it");
        let size = content.len();
        change(&mut content);
        assert_eq!(content.len(), size);
        fs::write(file, content).expect("it is changed");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
