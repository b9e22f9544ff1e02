//! What lets us in: the credential itself, or a token that is had for it
//! ([the protocol](https://distribution.github.io/distribution/spec/auth/token/)).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::body;
use super::session::{Asked, Session};
use crate::credentials::{Credential, DockerConfig};
use crate::error::ImageError;

/// The largest token that is read, with what is around it.
const MAX_TOKEN: u64 = 64 << 10;

/// How we are called where tokens are had.
const CLIENT: &str = "wharf";

/// Who asks: docker's configuration says it, once a registry wants to know.
pub(super) enum Who {
    Unasked(Option<DockerConfig>),
    Known(Option<Credential>),
}

/// How a registry wants to be asked.
enum Wanted {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// What gives tokens answers.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Session {
    /// Gets what lets us in, as the answer with these headers wants it.
    pub(super) async fn authorize(&mut self, headers: &HeaderMap, what: &str) -> Result<(), ImageError> {
        let wanted = self.wanted(headers)?;
        if let Who::Unasked(config) = &self.who {
            let credential = match config {
                Some(config) => config.credential_within(&self.registry, self.left()?).await.map_err(|error| {
                    // The time of the whole was less than that of a helper.
                    self.left().err().unwrap_or(error)
                })?,
                None => None,
            };
            self.who = Who::Known(credential);
        }
        let value = match wanted {
            Wanted::Basic => self.basic().ok_or_else(|| self.unauthorized(what, String::new()))?,
            Wanted::Bearer { realm, service } => self.token(realm, service.as_deref()).await?,
        };
        let mut value =
            HeaderValue::try_from(value).map_err(|_| self.challenge("what it gives is not a valid token"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    fn wanted(&self, headers: &HeaderMap) -> Result<Wanted, ImageError> {
        let mut basic = false;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let text = value.to_str().map_err(|_| self.challenge("what it wants is not text"))?;
            let challenges = http_auth::parse_challenges(text);
            for challenge in challenges.map_err(|_| self.challenge("what it wants is not valid"))? {
                basic |= challenge.scheme.eq_ignore_ascii_case("basic");
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let parameter = |name: &str| {
                        let (_, value) = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
                        Some(value.to_unescaped())
                    };
                    let realm = parameter("realm").and_then(|realm| Url::parse(&realm).ok());
                    let realm = realm.ok_or_else(|| self.challenge("it does not say validly where tokens are had"))?;
                    return Ok(Wanted::Bearer { realm, service: parameter("service") });
                }
            }
        }
        if basic {
            Ok(Wanted::Basic)
        } else {
            Err(self.challenge("it does not say how, or in no way that is known here"))
        }
    }

    fn basic(&self) -> Option<String> {
        match self.credential() {
            Some(Credential::Password { user, password }) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            _ => None,
        }
    }

    async fn token(&mut self, mut realm: Url, service: Option<&str>) -> Result<String, ImageError> {
        let what = format!("a token for {}/{}", self.registry, self.repository);
        let scope = format!("repository:{}:{}", self.repository, self.actions);
        let mut asked = Asked::get(what.clone());
        let mut authorization = None;
        if let Some(Credential::Token(token)) = self.credential() {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
            form.append_pair("client_id", CLIENT).append_pair("scope", &scope);
            form.append_pair("service", service.unwrap_or_default());
            let content_type = Some(HeaderValue::from_static("application/x-www-form-urlencoded"));
            asked = Asked { method: Method::POST, content_type, body: Bytes::from(form.finish()), ..asked };
        } else {
            let mut query = realm.query_pairs_mut();
            query.append_pair("scope", &scope);
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            drop(query);
            authorization = self.basic().and_then(|value| HeaderValue::try_from(value).ok());
        }
        // Redirects are not followed: what is sent here is a secret.
        let response = self.request(&realm, &asked, authorization).await?;
        let response = self.expect(&what, response, &[StatusCode::OK]).await?;
        let text = body::read(response, &what, MAX_TOKEN, None, self.broken(&what)).await?;
        let answer: Option<Answer> = serde_json::from_slice(&text).ok();
        let token = answer.and_then(|answer| {
            let tokens = [answer.token, answer.access_token];
            tokens.into_iter().flatten().find(|token| !token.is_empty())
        });
        Ok(format!("Bearer {}", token.ok_or_else(|| self.challenge("what it gives is not a valid token"))?))
    }

    fn credential(&self) -> Option<&Credential> {
        match &self.who {
            Who::Known(credential) => credential.as_ref(),
            Who::Unasked(_) => None,
        }
    }

    /// That the registry does not know who asks (401).
    pub(super) fn unauthorized(&self, what: &str, said: String) -> ImageError {
        let registry = &self.registry;
        let advice = match self.credential() {
            Some(Credential::Password { .. }) => {
                format!(
                    "it does not take the credentials of docker's configuration; `docker login {registry}` renews them"
                )
            }
            Some(Credential::Token(_)) => format!(
                "it does not take the token of docker's configuration; `docker login {registry}` puts a name and a password there"
            ),
            None => {
                format!(
                    "it wants credentials, and docker's configuration has none; `docker login {registry}` puts them there"
                )
            }
        };
        ImageError::Unauthorized { registry: registry.clone(), what: what.to_owned(), advice, said }
    }

    /// That the registry knows who asks, and does not allow it (403).
    pub(super) fn forbidden(&self, what: &str, said: String) -> ImageError {
        let (registry, right) = (self.registry.clone(), if self.actions == "pull" { "pull from" } else { "push to" });
        let who = match self.credential() {
            Some(Credential::Password { user, .. }) => format!("{user:?} has"),
            Some(Credential::Token(_)) => "the token of docker's configuration has".to_owned(),
            None => "without credentials there is".to_owned(),
        };
        let advice = format!("{who} no right to {right} {}; whoever runs the registry can give it", self.repository);
        ImageError::Unauthorized { registry, what: what.to_owned(), advice, said }
    }

    fn challenge(&self, reason: &'static str) -> ImageError {
        ImageError::Challenge { registry: self.registry.clone(), reason }
    }
}
