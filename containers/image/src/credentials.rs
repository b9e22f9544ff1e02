//! Who asks: what docker's configuration says of a registry.

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::error::ImageError;
use crate::file;
use crate::helper::{Answer, Asking};

/// The largest configuration that is read.
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
        self.read(registry, &Asking::within(self.patience).0)
    }

    /// [`credential`](Self::credential), within `limit`. Who drops the future ends the helper, and has waited for its end.
    pub(crate) async fn credential_within(
        &self,
        registry: &str,
        limit: Duration,
    ) -> Result<Option<Credential>, ImageError> {
        let (asking, ends) = Asking::within(self.patience.min(limit));
        let (sender, found) = oneshot::channel();
        let (config, registry) = (self.clone(), registry.to_owned());
        let thread = std::thread::Builder::new().name("wharf-credentials".to_owned()).spawn(move || {
            // Nobody waits for it any more if it was given up.
            let _ = sender.send(config.read(&registry, &asking));
        });
        let _ended = ends.with(thread.map_err(|error| self.wrong(format!("no thread can be started: {error}")))?);
        found.await.unwrap_or_else(|_| Err(self.wrong("they could not be asked for: a defect in wharf")))
    }

    fn read(&self, registry: &str, asking: &Asking) -> Result<Option<Credential>, ImageError> {
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
            return self.ask(helper, server, asking);
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
                store.map_or(Ok(None), |store| self.ask(&store, server, asking))
            }
            Err(error) => Err(self.wrong(format!("what it says of {server} cannot be used: {error}"))),
        }
    }

    /// Asks the helper `docker-credential-NAME`.
    fn ask(&self, name: &str, server: &str, asking: &Asking) -> Result<Option<Credential>, ImageError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !name.bytes().all(plain) {
            return Err(self.wrong(format!("{name:?} is not a valid name of a credential helper")));
        }
        let program = format!("docker-credential-{name}");
        let path = self.helpers.as_ref().map_or_else(|| PathBuf::from(&program), |directory| directory.join(&program));
        let found = asking.ask(&path, server);
        let found = found.map_err(|what| self.wrong(format!("the credential helper `{program}` {what}")))?;
        Ok(found.map(|Answer { user, secret }| match user.as_str() {
            TOKEN_USER => Credential::Token(secret),
            _ => Credential::Password { user, password: secret },
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
