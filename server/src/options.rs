//! What a handler takes on, and what a server allows its clients.

use std::time::Duration;

use crate::reuse::Reuse;

/// How much a handler takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerOptions {
    /// How many requests are handled at a time, each on a thread of its own once it waits for something. Must be less than
    /// `blocking_threads`.
    pub max_concurrent: usize,
    /// How many blocking threads the runtime has: the `max_blocking_threads` of its builder. If guests occupied all of them,
    /// name look-ups, file operations and, with `on_workers`, the runtime's own tasks would have to wait for a guest to end.
    pub blocking_threads: usize,
    /// How many more may wait for their turn; all others are answered with 503.
    pub max_waiting: usize,
    /// How long a request may wait for its turn before it is answered with 503.
    pub max_wait: Duration,
    /// How large a request body may be, in bytes.
    pub max_request_body: u64,
    /// How many requests an instance handles, one after another. [`Reuse::ONCE`] gives each request a new instance; with
    /// more, a request can see what earlier ones left in the guest's memory.
    ///
    /// A request that an instance which has answered others ends without answering, for another reason than its time, is
    /// handed to a new one if nothing of its body was read and nothing is done twice that must not be: its method is
    /// idempotent (RFC 9110, section 9.2.2), or the guest has sent no request of its own. A guest whose instances turn out
    /// to be unable to answer a second request, or leave open what belongs to the first, is given a new one for each from
    /// then on, with one warning.
    pub max_reuse: Reuse,
    /// How many requests an instance works on at a time; more than 1 is for guests that export `wasi:http/handler` of WASI 0.3,
    /// on wharf's own host, and for a `max_reuse` of more than 1.
    ///
    /// A request enters an instance that waits for something, and else one of its own, as long as fewer compute than `max_busy`
    /// says. None enters while the guest has backpressure on. The requests of an instance take turns on one thread, and share
    /// its memory and what it may take; each has its own time limit, grants of outbound requests and output. One that traps,
    /// or computes beyond its time, ends the instance and all requests in it, which are answered with 500. A request whose
    /// client leaves has its task asked to cancel itself.
    pub max_concurrent_reuse: u32,
    /// How many instances that may work on several requests compute before a request that finds none waiting is to wait for one
    /// of those; `None` for as many as there are processors. With 1, instances fill up one after another.
    pub max_busy: Option<usize>,
    /// How many new instances are kept ready; `None` for a few if one takes long to make, and else none. An instance takes
    /// long if none of the five that are made to find out took less than 0.1 ms.
    pub pre_warm: Option<usize>,
    /// How many instances that have answered a request may wait for another.
    pub max_idle: usize,
    /// How much memory such an instance may take, in bytes, including what the host keeps for it: one that takes more is
    /// dropped.
    pub max_idle_memory: u64,
    /// Whether guests begin on the runtime's workers, if it is multi-threaded. A guest that waits, or runs for long,
    /// hands the worker's other tasks to another thread; most guests answer before that, and need no other thread.
    /// Leave it off if handlers are called within a `LocalSet`.
    pub on_workers: bool,
}

impl Default for HandlerOptions {
    /// 128 at a time, on a runtime with 512 blocking threads (tokio's default); 1024 waiting, for at most 5 s; request
    /// bodies of 64 MiB. A fresh instance for each request, as many kept ready as is sensible; where instances are used
    /// again, 64 of at most 64 MiB may wait. Not on workers.
    fn default() -> Self {
        HandlerOptions {
            max_concurrent: 128,
            blocking_threads: 512,
            max_waiting: 1024,
            max_wait: Duration::from_secs(5),
            max_request_body: 64 << 20,
            max_reuse: Reuse::ONCE,
            max_concurrent_reuse: 1,
            max_busy: None,
            pre_warm: None,
            max_idle: 64,
            max_idle_memory: 64 << 20,
            on_workers: false,
        }
    }
}

/// What a server allows its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// How long a client may take for the TLS handshake, for its first bytes, and over HTTP/1 for the head of each
    /// request.
    pub header_timeout: Duration,
    /// How large the head of a request may be, in bytes; at least 8192. Beyond it, a request is answered with 431.
    pub max_header_bytes: usize,
    /// How many fields the head of a request may have. Beyond it, a request is answered with 431.
    pub max_header_fields: usize,
    /// How long a request target may be, in bytes, and never longer than a head. Beyond it, a request is answered with
    /// 414.
    pub max_target_bytes: usize,
    /// Whether all connections come from a proxy whose word on the scheme is trusted: `proto` in the last element of
    /// Forwarded (RFC 7239), or else the scheme of the request target. Without it, a request for a scheme that its
    /// connection does not have is answered with 421 (RFC 9110, section 7.4).
    pub trusted_proxy: bool,
    /// How long a client may read nothing of a response, on a connection and on a stream of HTTP/2.
    pub stall_timeout: Duration,
    /// How long an HTTP/2 connection may have no stream before it is closed. With HTTP/1.1, `header_timeout` limits how
    /// long a connection may be idle.
    pub idle_timeout: Duration,
    /// How many connections may be open at a time; more wait to be accepted.
    pub max_connections: usize,
    /// How many requests of one HTTP/2 connection may be in progress.
    pub max_streams: u32,
    /// How long requests in progress may take to finish when the server stops.
    pub drain: Duration,
}

impl Default for ServerOptions {
    /// 10 s for a head of 64 KiB with 100 fields and a target of 32 KiB, no proxy, 30 s for a client that reads
    /// nothing, 60 s for one that sends no request, 4096 connections of 128 requests, 10 s to drain.
    fn default() -> Self {
        ServerOptions {
            header_timeout: Duration::from_secs(10),
            max_header_bytes: 64 << 10,
            max_header_fields: 100,
            max_target_bytes: 32 << 10,
            trusted_proxy: false,
            stall_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            max_connections: 4096,
            max_streams: 128,
            drain: Duration::from_secs(10),
        }
    }
}
