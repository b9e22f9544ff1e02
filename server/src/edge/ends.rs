//! Where bodies of HTTP/1 end on the wire.
//!
//! hyper tells of the end of a body that comes after its answer once the next request comes, or there is none for too
//! long. What reads the bytes before it knows better.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::{HeaderMap, HeaderName, HeaderValue};

/// How many ends are kept: those of requests that hyper has read already are of no use.
const KEPT: usize = 16;

/// How many fields a trailer section may have.
const MAX_FIELDS: usize = 100;

/// The ends of the last bodies of a connection.
#[derive(Clone, Default)]
pub(super) struct Ends(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    ends: VecDeque<End>,
    reader: Option<Waker>,
}

/// The end of the body of one request.
struct End {
    /// The request's number, counted from 0.
    request: u64,
    /// How many bytes its body has.
    bytes: u64,
    trailers: HeaderMap,
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of this request has so many bytes, and then this trailer section, its empty line included.
    pub(super) fn put(&self, request: u64, bytes: u64, section: &[u8]) {
        // What is not valid is for hyper to refuse.
        let Some(trailers) = trailers(section) else { return };
        let mut state = self.lock();
        if state.ends.len() == KEPT {
            state.ends.pop_front();
        }
        state.ends.push_back(End { request, bytes, trailers });
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The trailers of the body of this request, if its end is known, and so many bytes are all of it.
    pub(super) fn get(&self, request: u64, bytes: u64, context: &Context<'_>) -> Option<HeaderMap> {
        let mut state = self.lock();
        let found = state.ends.iter().find(|end| end.request == request);
        if let Some(end) = found.filter(|end| end.bytes == bytes) {
            return Some(end.trailers.clone());
        }
        state.reader = Some(context.waker().clone());
        None
    }
}

fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut trailers = HeaderMap::new();
    if section.is_empty() {
        return Some(trailers);
    }
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(section, &mut fields) else {
        return None;
    };
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        trailers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(trailers)
}
