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
use crate::credentials::Credential;
use crate::error::ImageError;

/// The largest token that is read, with what is around it.
const MAX_TOKEN: u64 = 64 << 10;

/// How we are called where tokens are had.
const CLIENT: &str = "wharf";

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
        let value = match self.wanted(headers)? {
            Wanted::Basic => self.basic().ok_or_else(|| ImageError::Unauthorized {
                registry: self.registry.clone(),
                what: what.to_owned(),
                advice: match self.credential {
                    Some(_) => "it wants a name and a password, and docker's configuration has a token",
                    None => "docker's configuration has nothing for it; `docker login` puts it there",
                },
            })?,
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
        match &self.credential {
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
        if let Some(Credential::Token(token)) = &self.credential {
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
        let text = body::read(response, &what, MAX_TOKEN, None, self.left()?).await?;
        let answer: Option<Answer> = serde_json::from_slice(&text).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        Ok(format!("Bearer {}", token.ok_or_else(|| self.challenge("what it gives is not a valid token"))?))
    }

    fn challenge(&self, reason: &'static str) -> ImageError {
        ImageError::Challenge { registry: self.registry.clone(), reason }
    }
}
