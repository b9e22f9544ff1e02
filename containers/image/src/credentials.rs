//! Who asks: what docker's configuration says of a registry.

use std::env;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ImageError;
use crate::file;

/// The largest configuration, or answer of a helper, that is read.
const MAX_BYTES: u64 = 1 << 20;

/// How docker's configuration calls its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What a helper calls a user whose secret is a token.
const TOKEN_USER: &str = "<token>";

/// Says who asks. It is shown without its secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and its password.
    Password {
        /// The name.
        user: String,
        /// The password, or what stands for one.
        password: String,
    },
    /// A token that others are had for (`identitytoken`).
    Token(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Password { user, .. } => write!(f, "Password({user:?})"),
            Credential::Token(_) => f.write_str("Token"),
        }
    }
}

/// What of docker's configuration is looked at here.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Helpers {
    creds_store: Option<String>,
    cred_helpers: std::collections::BTreeMap<String, String>,
}

/// Docker's configuration: a file `config.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfig {
    file: PathBuf,
    /// How long a helper may take.
    patience: Duration,
    /// Where helpers are, if not on the path.
    helpers: Option<PathBuf>,
}

impl DockerConfig {
    /// The one in the directory that `DOCKER_CONFIG` names, or else in `.docker` of the user's home directory; none if there
    /// is neither.
    pub fn of_user() -> Option<Self> {
        let named = env::var_os("DOCKER_CONFIG").filter(|directory| !directory.is_empty()).map(PathBuf::from);
        let directory = named.or_else(|| Some(env::home_dir()?.join(".docker")))?;
        Some(DockerConfig::in_directory(&directory))
    }

    /// The one in `directory`.
    pub fn in_directory(directory: &Path) -> Self {
        DockerConfig { file: directory.join("config.json"), patience: Duration::from_secs(30), helpers: None }
    }

    /// Bounds how long a helper may take; 30 s by default. When it has taken longer, it is killed with what it has started.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        DockerConfig { patience, ..self }
    }

    /// Looks for helpers in this directory, and not where programs are.
    #[must_use]
    pub fn helpers_in(self, directory: &Path) -> Self {
        DockerConfig { helpers: Some(directory.to_owned()), ..self }
    }

    /// What it says of `registry`, a host with or without a port. It waits for the helper (`docker-credential-...`), if the
    /// configuration names one. None if it says nothing, or there is no configuration.
    ///
    /// # Errors
    /// [`ImageError::Credentials`] if the configuration cannot be read, or its helper fails or does not end;
    /// [`ImageError::File`].
    pub fn credential(&self, registry: &str) -> Result<Option<Credential>, ImageError> {
        let server = if is_docker_hub(registry) { DOCKER_HUB } else { registry };
        let text = match file::read(&self.file, MAX_BYTES) {
            Err(ImageError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let invalid = || self.wrong("it is not a valid configuration of docker");
        let mut whole: Value = serde_json::from_slice(&text).map_err(|_| invalid())?;
        let helpers: Helpers = Helpers::deserialize(&whole).map_err(|_| invalid())?;
        let specific = helpers.cred_helpers.get(server).filter(|name| !name.is_empty());
        if let Some(helper) = specific {
            return self.ask(helper, server);
        }
        // The library would run helpers itself, and wait for them for ever.
        if let Some(object) = whole.as_object_mut() {
            object.remove("credsStore");
            object.remove("credHelpers");
        }
        let plain = whole.to_string();
        match docker_credential::get_credential_from_reader(plain.as_bytes(), server) {
            Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credential::Token(token))),
            Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(Credential::Password { user, password })),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {
                let store = helpers.creds_store.filter(|name| !name.is_empty());
                store.map_or(Ok(None), |store| self.ask(&store, server))
            }
            Err(error) => Err(self.wrong(format!("what it says of {server} cannot be used: {error}"))),
        }
    }

    /// Asks the helper `docker-credential-NAME`
    /// ([its protocol](https://github.com/docker/docker-credential-helpers#development)).
    fn ask(&self, name: &str, server: &str) -> Result<Option<Credential>, ImageError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !name.bytes().all(plain) {
            return Err(self.wrong(format!("{name:?} is not a valid name of a credential helper")));
        }
        let program = format!("docker-credential-{name}");
        let failed = |what: &str| self.wrong(format!("the credential helper `{program}` {what}"));
        let mut command = Command::new(match &self.helpers {
            Some(directory) => directory.join(&program),
            None => PathBuf::from(&program),
        });
        // A group of its own, so that what it starts ends with it.
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut helper = Helper {
            child: command.spawn().map_err(|error| failed(&format!("cannot be started: {error}")))?,
            ended: false,
        };
        let ends = Instant::now() + self.patience;
        if let Some(mut input) = helper.child.stdin.take() {
            // A name of a server fits into the pipe; a helper that does not read it will say what it lacks.
            let _ = input.write_all(server.as_bytes());
        }
        let (sender, answer) = mpsc::channel();
        if let Some(output) = helper.child.stdout.take() {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let read = output.take(MAX_BYTES).read_to_end(&mut text).map(|_| text);
                // Nobody waits for it any more if it came too late.
                let _ = sender.send(read);
            });
        }
        let late = || failed(&format!("did not answer within {} s, and was killed", self.patience.as_secs()));
        let text = answer.recv_timeout(self.patience).map_err(|_| late())?;
        let text = text.map_err(|error| failed(&format!("cannot be read: {error}")))?;
        let status = loop {
            match helper.end().map_err(|error| failed(&format!("cannot be waited for: {error}")))? {
                Some(status) => break status,
                None if Instant::now() >= ends => return Err(late()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if !status.success() {
            let said = String::from_utf8_lossy(&text);
            // What all helpers say of a server that they do not know.
            if said.contains("credentials not found") {
                return Ok(None);
            }
            let said: String = said.trim().chars().take(200).collect();
            return Err(failed(&format!("failed: {said}")));
        }
        let found: Answer = serde_json::from_slice(&text).map_err(|_| failed("gave an answer that is not valid"))?;
        Ok(Some(match found.user.as_str() {
            TOKEN_USER => Credential::Token(found.secret),
            _ => Credential::Password { user: found.user, password: found.secret },
        }))
    }

    fn wrong(&self, reason: impl Into<String>) -> ImageError {
        ImageError::Credentials { file: self.file.clone(), reason: reason.into() }
    }
}

/// Whether it is docker's own registry, by one of its names.
pub(crate) fn is_docker_hub(registry: &str) -> bool {
    matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// What a helper answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// A helper that is gone, with what it started, once nobody waits for it.
struct Helper {
    child: Child,
    ended: bool,
}

impl Helper {
    /// How it has ended, if it has; what it started is then ended, too.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        // It is left to be waited for, so that nobody else has its number when its group is ended.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(Pid::from_child(&self.child)), options)? {
            None => Ok(None),
            Some(_) => self.stop().map(Some),
        }
    }

    fn stop(&mut self) -> io::Result<ExitStatus> {
        self.ended = true;
        // Nothing is left to be ended if this fails.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if !self.ended {
            // It has been killed, so that it is waited for in vain only if it was never there.
            let _ = self.stop();
        }
    }
}
