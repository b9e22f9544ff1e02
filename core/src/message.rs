//! When a message that a guest makes is whole, and what becomes of one that it leaves unfinished.
//!
//! A guest writes a body while the message is on its way, and may end at any moment. Whoever reads the message must
//! never take a part for the whole (RFC 9112, section 8; RFC 9113, section 8.1.1), and whoever asked is better served
//! by an error than by nothing at all, which many clients answer by asking again. So part of each message is kept back
//! until the guest vouches for the rest:
//! - the head of a response, until the guest flushes something, waits for something, or finishes. Until then the whole
//!   response can be replaced;
//! - where the message ends with the last byte of its announced length, that byte; where it ends with its head (a
//!   length of 0, an answer to HEAD, status 204 or 304), the head: until the guest finishes.
//!
//! [`Progress::verdict`] decides what is finally sent, for every host and both protocols:
//!
//! | the guest | nothing was sent | the head was sent |
//! |---|---|---|
//! | finished, with as many bytes as announced, if any were | whole | whole |
//! | finished, with fewer bytes of content than announced | 500 | broken |
//! | wrote more bytes than announced | 500 | broken |
//! | dropped the body | 500 | broken |
//! | returned, and left the body open | 500 | broken |
//! | trapped | 500 | broken |
//! | exited, whatever its code | 500 | broken |
//! | ran out of time | 504 | broken |
//!
//! The status that the guest itself had set plays no part: the guest did not vouch for it either. A message whose body
//! was never asked for is finished when it is handed over; if it announces a length all the same, it has fewer bytes
//! than announced. *Broken* means what was flushed, and then an end that no reader can take for the message's: a
//! connection that ends early where length or chunks frame the body, one that is reset where the body extends to the
//! connection's end, a reset stream in HTTP/2.

use http::StatusCode;

use crate::error::Kind;
use crate::stop::Stop;

/// How a guest ended its part in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestEnd {
    /// It said that the message is finished.
    Finished,
    /// It dropped the body.
    Dropped,
    /// It returned, and left the body open or the response unset.
    Returned,
    /// It trapped.
    Trapped,
    /// It exited.
    Exited,
    /// It ran longer than it may.
    TimedOut,
}

impl GuestEnd {
    /// How a guest that leaves a message behind ended.
    pub fn of<T>(ended: &Result<T, Stop>) -> Self {
        match ended {
            Ok(_) => GuestEnd::Returned,
            Err(Stop::Exit(_)) => GuestEnd::Exited,
            Err(Stop::Error(error)) if error.kind() == Kind::Timeout => GuestEnd::TimedOut,
            Err(Stop::Error(_)) => GuestEnd::Trapped,
        }
    }
}

/// What ends a message's content on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// There is none: it is an answer to HEAD, or its status is 204 or 304. The head ends the message.
    None,
    /// Its Content-Length.
    Length(u64),
    /// Something else: a last chunk, the end of the stream or of the connection.
    Open,
}

impl Content {
    /// What ends the content of a response of this status, which answers a HEAD or another request and announces a
    /// length or does not (RFC 9112, section 6.3).
    pub fn of_response(answers_head: bool, status: StatusCode, announced: Option<u64>) -> Self {
        if answers_head
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
        {
            return Content::None;
        }
        Content::announced(announced)
    }

    /// What ends the content of a message that has some, and announces its length or does not.
    pub fn announced(length: Option<u64>) -> Self {
        length.map_or(Content::Open, Content::Length)
    }
}

/// How far a message has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What ends its content.
    pub content: Content,
    /// How many bytes of content the guest has written.
    pub written: u64,
    /// Whether its head was sent.
    pub head_sent: bool,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent whole.
    Whole,
    /// A response of this status is sent in its place.
    Replaced(StatusCode),
    /// It breaks off so that its reader sees it.
    Broken,
}

impl Progress {
    /// How many of the first `flushed` bytes may be sent before the guest has finished.
    pub fn sendable(&self, flushed: u64) -> u64 {
        match self.content {
            Content::None => 0,
            Content::Length(length) => flushed.min(length.saturating_sub(1)),
            Content::Open => flushed,
        }
    }

    /// Whether the head may be sent before the guest has finished: it is not all that there is to send.
    pub fn head_may_leave(&self) -> bool {
        !matches!(self.content, Content::None | Content::Length(0))
    }

    /// What becomes of the message once the guest has ended its part in it.
    pub fn verdict(&self, end: GuestEnd) -> Verdict {
        let kept = match self.content {
            Content::Length(length) => self.written == length,
            Content::None | Content::Open => true,
        };
        match end {
            GuestEnd::Finished if kept => Verdict::Whole,
            _ if self.head_sent => Verdict::Broken,
            GuestEnd::TimedOut => Verdict::Replaced(StatusCode::GATEWAY_TIMEOUT),
            _ => Verdict::Replaced(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// The status of the response that is sent where a guest ended like this before anything of its own was.
pub fn replacement(end: GuestEnd) -> StatusCode {
    let nothing = Progress { content: Content::Open, written: 0, head_sent: false };
    match nothing.verdict(end) {
        Verdict::Replaced(status) => status,
        Verdict::Whole | Verdict::Broken => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: [GuestEnd; 6] = [
        GuestEnd::Finished,
        GuestEnd::Dropped,
        GuestEnd::Returned,
        GuestEnd::Trapped,
        GuestEnd::Exited,
        GuestEnd::TimedOut,
    ];

    #[test]
    fn only_a_finished_message_of_its_length_is_whole() {
        for end in ENDS {
            for (content, written) in [
                (Content::None, 0),
                (Content::None, 5),
                (Content::Open, 0),
                (Content::Open, 5),
                (Content::Length(0), 0),
                (Content::Length(5), 0),
                (Content::Length(5), 4),
                (Content::Length(5), 5),
                (Content::Length(5), 6),
            ] {
                for head_sent in [false, true] {
                    let progress = Progress { content, written, head_sent };
                    let kept = !matches!(content, Content::Length(length) if length != written);
                    let expected = match end {
                        GuestEnd::Finished if kept => Verdict::Whole,
                        _ if head_sent => Verdict::Broken,
                        GuestEnd::TimedOut => Verdict::Replaced(StatusCode::GATEWAY_TIMEOUT),
                        _ => Verdict::Replaced(StatusCode::INTERNAL_SERVER_ERROR),
                    };
                    assert_eq!(progress.verdict(end), expected, "{progress:?}, {end:?}");
                }
            }
        }
    }

    /// Whatever may be sent before the guest finishes is less than a whole message.
    #[test]
    fn what_may_be_sent_early_never_looks_whole() {
        for length in 0..4 {
            let progress = Progress { content: Content::Length(length), written: length, head_sent: true };
            assert!(progress.sendable(length) < length || !progress.head_may_leave(), "{length}");
            assert_eq!(progress.sendable(0), 0);
        }
        let none = Progress { content: Content::None, written: 7, head_sent: false };
        assert!(!none.head_may_leave() && none.sendable(7) == 0);
        let open = Progress { content: Content::Open, written: 7, head_sent: false };
        assert!(open.head_may_leave());
        assert_eq!(open.sendable(5), 5);
    }

    #[test]
    fn ends_are_told_apart() {
        let error = |kind| Err::<(), _>(Stop::Error(crate::error::Error::new(kind, "it ended")));
        assert_eq!(GuestEnd::of(&Ok::<_, Stop>(())), GuestEnd::Returned);
        assert_eq!(GuestEnd::of(&Err::<(), _>(Stop::Exit(0))), GuestEnd::Exited);
        assert_eq!(GuestEnd::of(&error(Kind::Timeout)), GuestEnd::TimedOut);
        assert_eq!(GuestEnd::of(&error(Kind::Trap)), GuestEnd::Trapped);
        assert_eq!(replacement(GuestEnd::TimedOut), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(replacement(GuestEnd::Exited), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
