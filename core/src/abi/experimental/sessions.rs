//! The responses a guest holds open.
//!
//! The table's lock is held for table work only, never while the network is waited for: the body is taken out of the
//! table for the wait and put back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response};

use super::Fault;
use super::code::{self, ErrorCode};
use crate::budget::Charge;
use crate::http::Incoming;
use crate::run::Run;

struct Session {
    headers: Arc<HeaderMap>,
    /// Received and not yet read by the guest.
    ready: Bytes,
    body: Body,
    /// What all of it takes.
    _charge: Charge,
}

enum Body {
    Open(Incoming),
    Ended,
    Broken,
}

#[derive(Default)]
struct Table {
    open: BTreeMap<u32, Session>,
    /// Where the search for a free handle starts: the handle given last.
    cursor: u32,
}

pub(super) struct Sessions {
    limit: u64,
    table: Mutex<Table>,
}

impl Sessions {
    pub(super) fn new(limit: u64) -> Self {
        Sessions { limit, table: Mutex::default() }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> usize {
        self.table().open.len()
    }

    /// Whether one more response may be opened.
    pub(super) fn check_room(&self) -> Result<(), ErrorCode> {
        if (self.open() as u64) < self.limit { Ok(()) } else { Err(ErrorCode::TooManySessions) }
    }

    /// Gives the response a handle: the one given last if it is free again, else the next free one.
    pub(super) fn insert(&self, response: Response<Incoming>, charge: Charge) -> Result<u32, ErrorCode> {
        let (parts, body) = response.into_parts();
        let (headers, ready) = (Arc::new(parts.headers), Bytes::new());
        let session = Session { headers, ready, body: Body::Open(body), _charge: charge };
        let mut table = self.table();
        if table.open.len() as u64 >= self.limit {
            return Err(ErrorCode::TooManySessions);
        }
        let mut handle = table.cursor;
        while table.open.contains_key(&handle) {
            handle = handle.wrapping_add(1);
            if handle == table.cursor {
                return Err(ErrorCode::TooManySessions);
            }
        }
        table.cursor = handle;
        table.open.insert(handle, session);
        Ok(handle)
    }

    pub(super) fn remove(&self, handle: u32) {
        let removed = self.table().open.remove(&handle);
        // Dropped here, outside the lock: it closes a connection.
        drop(removed);
    }

    pub(super) fn headers(&self, handle: u32) -> Result<Arc<HeaderMap>, ErrorCode> {
        self.table().open.get(&handle).map(|session| session.headers.clone()).ok_or(ErrorCode::InvalidHandle)
    }

    /// The bytes that come next, at least one; none means the end of the body. They stay until
    /// [`consume`](Self::consume)d.
    pub(super) fn next_chunk(&self, handle: u32, run: &Run) -> Result<Bytes, Fault> {
        let mut incoming = {
            let mut table = self.table();
            let session = table.open.get_mut(&handle).ok_or(ErrorCode::InvalidHandle)?;
            if !session.ready.is_empty() {
                return Ok(session.ready.clone());
            }
            // Broken is what a reader finds if this wait does not come back.
            match std::mem::replace(&mut session.body, Body::Broken) {
                Body::Open(incoming) => incoming,
                Body::Ended => {
                    session.body = Body::Ended;
                    return Ok(Bytes::new());
                }
                Body::Broken => return Err(ErrorCode::RequestFailed.into()),
            }
        };
        let (ready, body, result) = loop {
            match run.wait(incoming.chunk())? {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => break (chunk.clone(), Body::Open(incoming), Ok(chunk)),
                Some(Err(error)) => {
                    code::of(&error);
                    break (Bytes::new(), Body::Broken, Err(ErrorCode::RequestFailed.into()));
                }
                None => break (Bytes::new(), Body::Ended, Ok(Bytes::new())),
            }
        };
        if let Some(session) = self.table().open.get_mut(&handle) {
            session.ready = ready;
            session.body = body;
        }
        result
    }

    /// Takes `count` bytes that the guest now has.
    pub(super) fn consume(&self, handle: u32, count: usize) {
        if let Some(session) = self.table().open.get_mut(&handle) {
            session.ready.advance(count.min(session.ready.len()));
        }
    }
}
