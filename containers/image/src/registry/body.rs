//! Answers, read up to a limit.

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use serde::Deserialize;
use wharf_http::{HttpError, Incoming};

use crate::error::{self, ImageError};

/// The most of a complaint that is read.
const MAX_COMPLAINT: u64 = 8 << 10;

/// The body of `response`, of at most `limit` bytes, and of exactly `length` if that is known.
pub(super) async fn read(
    response: Response<Incoming>,
    what: &str,
    limit: u64,
    length: Option<u64>,
    broken: impl Fn(HttpError) -> ImageError,
) -> Result<Bytes, ImageError> {
    let wrong = |found: u64| match length {
        Some(expected) => ImageError::Length { what: what.to_owned(), expected, found },
        None => ImageError::TooLarge { what: what.to_owned(), limit },
    };
    let most = length.unwrap_or(limit);
    let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(announced) = announced.filter(|announced| *announced > most || length.is_some() && *announced < most) {
        return Err(wrong(announced));
    }
    let mut body = response.into_body();
    // What is announced need not come: memory is taken as it does.
    let mut content = Vec::new();
    while let Some(chunk) = body.chunk().await {
        let chunk = chunk.map_err(&broken)?;
        let found = (content.len() + chunk.len()) as u64;
        if found > most {
            return Err(wrong(found));
        }
        content.extend_from_slice(&chunk);
    }
    if length.is_some_and(|length| length != content.len() as u64) {
        return Err(wrong(content.len() as u64));
    }
    Ok(content.into())
}

/// What a registry says of a request that it does not do.
#[derive(Deserialize)]
struct Complaints {
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What the registry says of its refusal, if it does, as the end of a message.
pub(super) async fn complaint(response: Response<Incoming>) -> String {
    // Within the timeouts of the request: one that does not come is none.
    let broken = |error| ImageError::Http { what: String::new(), source: Box::new(error) };
    let Ok(text) = read(response, "", MAX_COMPLAINT, None, broken).await else { return String::new() };
    let Ok(Complaints { errors }) = serde_json::from_slice(&text) else { return String::new() };
    let said: Vec<String> = errors.iter().map(|error| format!("{} {}", error.code, error.message)).collect();
    let said = error::shown(&said.join("; "));
    if said.is_empty() { said } else { format!(": {said}") }
}
