//! Failures we know of. Each carries why, where it is tracked and the words it fails with; anything else is red.

/// A case known to fail on a backend.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The backend's name, as in the report's column.
    pub backend: &'static str,
    /// The case's id.
    pub id: &'static str,
    /// Why it fails.
    pub reason: &'static str,
    /// Where that is tracked.
    pub link: &'static str,
    /// Text the failure's message must contain; another message is a failure of its own.
    pub message: &'static str,
}

/// The column of wasmtime's own component model.
pub const WASMTIME_COMPONENT: &str = "wasmtime-component";

/// The column of the transport on reqwest.
pub const REQWEST: &str = "wasmtime-reqwest";

/// A difference between wharf's own host, for which the case speaks, and wasmtime's: what the WIT text says, where, and
/// the words that tell both outcomes.
const fn differs(id: &'static str, reason: &'static str, link: &'static str, message: &'static str) -> Expected {
    Expected { backend: WASMTIME_COMPONENT, id, reason, link, message }
}

/// Headers that are a child of what they are the headers of, by a text that says what dropping the parent first does.
const CHILD: &str = "the WIT text decides for wharf: headers are a child, and dropping their parent first traps";
/// The same, by one that says only what must be.
const CHILD_MUST: &str = "the WIT text says that headers are a child which must be dropped first, and not what happens \
                          otherwise: a trap with wharf, nothing with wasmtime";

/// The code of an error that comes of HTTP.
const CODE: &str = "the WIT text has errors of HTTP give their code, and leaves open which ones these are: with wharf those of \
                    every body, with wasmtime 48 none, which looks for it under another type than its bodies carry";
const CODE_LINK: &str = "core/wit/http.wit: http-error-code";
const NO_CODE: &str = "whether the error is one of HTTP: expected 1, saw 0";

/// Permits to write.
const PERMIT: &str = "the WIT text decides for wharf: a permit is for the next write, and one without it traps; wasmtime \
                      takes it while there is room";
const PERMIT_LINK: &str = "core/wit/io.wit: output-stream.write";
const NO_TRAP: &str = "[method]output-stream.write should trap and returned";

/// A difference between the transport on hyper, for which the case speaks, and the one on reqwest: what decides, where, and
/// the words that tell both outcomes.
const fn on_reqwest(id: &'static str, reason: &'static str, link: &'static str, message: &'static str) -> Expected {
    Expected { backend: REQWEST, id, reason, link, message }
}

/// Targets that the URL Standard writes in another way.
const TARGET: &str = "RFC 9112 decides for hyper: the client sends the path and query of the target; reqwest takes a URL, which \
                      the URL Standard rewrites, so that such a target is refused";
const TARGET_LINK: &str = "RFC 9112, section 3.2.1; reqwest: Request::new takes a Url";

/// Fields beside the guest's.
const FIELDS: &str = "RFC 9110 allows both, since a request without Accept takes what `*/*` names; hyper sends the guest's fields \
                      alone, and each client of reqwest's has a default Accept that cannot be removed";
const FIELDS_LINK: &str = "RFC 9110, section 12.5.1; reqwest: ClientBuilder::new";

/// Limits of the host's own.
const LIMIT: &str = "the WIT text leaves open how a guest ends that goes beyond a limit of its host: of the kind `limit` with \
                     wharf, by a trap with wasmtime";

/// Waits for what only the guest could do.
const FOREVER: &str = "the specification leaves it open: a wait that only the guest itself could end is a trap with wharf; with \
                       wasmtime so is one for what the guest has both ends of, and others last until its time limit";

/// The failures known on the backends that wharf ships. A difference that is not listed fails, and so does one that is
/// listed and has gone.
pub const EXPECTED: &[Expected] = &[
    differs(
        "wasi03/builtins/slots-of-a-context-are-two",
        "the specification decides for wharf: a context has two slots; wasmtime has the second only with what it has of \
         threads",
        "CanonicalABI.md: canon context.get",
        "`context.get` immediate must be zero",
    ),
    differs(
        "wasi03/messages/no-path-is-sent-as-the-root",
        "the WIT text decides for wharf: no path represents an empty one; wasmtime refuses to send such a request",
        "core/wit/0.3/http.wit: request.set-path-with-query",
        "wasm `unreachable` instruction executed",
    ),
    differs(
        "wasi03/messages/one-that-is-never-sent-is-not-sent",
        "the WIT text decides for wharf: the future tells whether the message was sent, and one that was dropped was not; \
         with wasmtime it says `ok`",
        "core/wit/0.3/http.wit: response.new",
        r#"expected (200, "1"), saw (200, "0")"#,
    ),
    differs(
        "wasi03/commands/what-was-passed-to-output-is-written-after-the-end",
        "the WIT text leaves it open: what a command has handed to its output is written with wharf before it ends; wasmtime \
         ends with the command",
        "core/wit/0.3/cli.wit: stdout.write-via-stream",
        "expected (0, 1), saw (0, 0)",
    ),
    differs(
        "wasi03/messages/a-request-that-is-never-sent-is-not-sent",
        "the WIT text decides for wharf, as for responses",
        "core/wit/0.3/http.wit: request.new",
        r#"expected (200, "1"), saw (200, "0")"#,
    ),
    differs(
        "wasi03/messages/the-fate-of-what-is-at-hand-is-not-waited-for",
        FOREVER,
        "CanonicalABI.md: Thread.wait_until",
        "longer than its time limit",
    ),
    differs(
        "wasi03/messages/trailers-are-not-waited-for-before-the-end-of-the-body",
        FOREVER,
        "CanonicalABI.md: Thread.wait_until",
        "longer than its time limit",
    ),
    differs(
        "wasi03/messages/what-is-taken-apart-has-the-fate-of-another",
        "the WIT text decides for wharf, as for a message that the guest waits for within its task",
        "core/wit/0.3/http.wit: response.consume-body",
        "longer than its time limit",
    ),
    differs(
        "wasi03/messages/one-that-is-read-was-sent",
        "the WIT text has the future resolve once the message was sent; wasmtime tells a guest so when it has ended, so that \
         one which waits for that within its task runs out of time",
        "core/wit/0.3/http.wit: response.new",
        "longer than its time limit",
    ),
    differs(
        "wasi03/messages/what-is-passed-on-keeps-no-field-of-the-connection",
        "the WIT text leaves open which headers are forbidden; RFC 9110, section 7.6.1, decides for wharf: what \
         Connection names is not passed on; wasmtime knows a list of names and no more",
        "core/wit/0.3/http.wit: header-error.forbidden",
        r#"["host", "x-hop", "x-sent"]"#,
    ),
    differs(
        "wasi03/streams/cancelling-what-has-ended-tells-the-end",
        "the specification decides for wharf: an event that is pending is delivered, and it says `completed`; wasmtime says \
         `cancelled` with the values that were moved",
        "CanonicalABI.md: canon {stream,future}.cancel-{read,write}",
        "expected [32], saw [34]",
    ),
    differs(
        "wasihttp/fields/order-and-casing-stay",
        "the WIT text decides for wharf: names and values are always returned in the original casing and order; wasmtime \
         lower-cases names and puts those that are alike together",
        "core/wit/http.wit: fields.entries",
        r#"saw [("x-one", "1"), ("x-one", "2"), ("accept", ""), ("etag", "3")]"#,
    ),
    differs(
        "wasihttp/fields/from-list",
        "the WIT text decides for wharf, as for order and casing",
        "core/wit/http.wit: fields.entries",
        r#"expected [("A", "1")], saw [("a", "1")]"#,
    ),
    differs(
        "wasihttp/fields/errors-in-order",
        "the WIT text leaves open which of several errors is told; wharf tells of the syntax first, wasmtime that a name is \
         forbidden",
        "core/wit/http.wit: header-error",
        "expected Some(0), saw Some(1)",
    ),
    differs(
        "wasihttp/fields/immutable",
        CHILD_MUST,
        "core/wit/http.wit: outgoing-request.headers",
        "[resource-drop]outgoing-request should trap and returned",
    ),
    differs(
        "wasihttp/inbound/authority-is-none-in-http10",
        "the WIT text decides for wharf: an authority is an option; wasmtime's requests always have one, which is empty here",
        "core/wit/http.wit: incoming-request.authority",
        "expected (200, [48]), saw (200, [49])",
    ),
    differs(
        "wasihttp/outbound/response-headers-are-immutable-children",
        CHILD_MUST,
        "core/wit/http.wit: incoming-response.headers",
        "[resource-drop]incoming-response should trap and returned",
    ),
    differs(
        "wasihttp/outbound/invalid-parts",
        "the WIT text decides for wharf: an authority whose port is not a number is not syntactically valid",
        "core/wit/http.wit: outgoing-request.set-authority",
        r#"setting authority to "host:port": expected 1, saw 0"#,
    ),
    differs(
        "wasihttp/sent/target-of-the-whole-server",
        "the RFC decides for wharf: a client that asks the server as a whole sends `*`; wasmtime takes no path that does not \
         begin with a slash",
        "RFC 9112, section 3.2.4",
        "`set-path-with-query` to *: expected 0, saw 1",
    ),
    differs(
        "wasihttp/outbound/denied-with-a-body",
        "the WIT text leaves it open: wharf takes the body of a request that is denied, so that programs which write it \
         first get to the future; wasmtime closes its stream",
        "core/wit/http.wit: outgoing-handler.handle",
        "a write to the body of a request that is denied: expected 0, saw 1",
    ),
    differs("wasihttp/outbound/broken-body", CODE, CODE_LINK, NO_CODE),
    differs(
        "wasihttp/outbound/full-buffer-without-a-request",
        "the WIT text leaves it open: a wait that only the guest itself could end is a trap with wharf, and lasts until its \
         time limit with wasmtime",
        "core/wit/io.wit: output-stream.blocking-write-and-flush",
        "Timeout",
    ),
    differs(
        "wasihttp/inbound/informational",
        "the WIT text decides for wharf: where there are no informational responses it is an internal-error; wasmtime traps",
        "core/wit/http.wit: response-outparam.send-informational",
        "not implemented",
    ),
    differs(
        "wasihttp/files/read-only",
        "the WIT text leaves open which of the two it is: read-only with wharf, not-permitted with wasmtime",
        "core/wit/filesystem.wit: error-code",
        "creating a file: expected Err(33), saw Err(31)",
    ),
    differs(
        "wasihttp/files/not-opened-for-it",
        "the WIT text leaves it open, by a `may`: wharf refuses the stream, wasmtime the first write to it",
        "core/wit/filesystem.wit: descriptor.write-via-stream",
        "`write-via-stream`: expected 1, saw 0",
    ),
    differs(
        "wasihttp/files/opened-directories-say-that-they-are-mutable",
        "the WIT text decides for wharf: the flag says that a directory may be changed; wasmtime allows it and says \
         that it does not",
        "core/wit/filesystem.wit: descriptor-flags.mutate-directory",
        "its flags, opened with 1: expected 33, saw 1",
    ),
    differs(
        "wasihttp/files/a-directory-is-not-read",
        "the WIT text decides for wharf: it is like pread, which POSIX has fail with EISDIR; wasmtime says so of \
         read-via-stream, and of read that the descriptor is bad",
        "core/wit/filesystem.wit: descriptor.read",
        "its error code: expected 14, saw 3",
    ),
    differs(
        "wasihttp/files/slash-stat",
        "the WIT text decides for wharf: it is like fstatat, for which POSIX has a path with a trailing slash name a \
         directory; wasmtime looks at the file in front of the slash",
        "core/wit/filesystem.wit: descriptor.stat-at",
        "stat-at of a/, path-flags 0: expected 1, saw 0",
    ),
    differs(
        "wasihttp/files/slash-remove-directory",
        "the WIT text decides for wharf: it is like unlinkat with AT_REMOVEDIR, which POSIX has take a trailing slash; \
         wasmtime removes the dot behind it, which is invalid",
        "core/wit/filesystem.wit: descriptor.remove-directory-at",
        "removing to-d/: expected Some(24), saw Some(12)",
    ),
    differs(
        "wasihttp/sockets/are-refused",
        "the WIT text allows both: access-denied is always possible, and what wharf says of what is not granted; \
         wasmtime says permanent-resolver-failure, as of a look-up that was made",
        "core/wit/sockets.wit: error-code",
        "its error code: expected 1, saw 20",
    ),
    differs(
        "wasihttp/canon/arguments-have-a-budget",
        LIMIT,
        "core/wit/http.wit: fields.from-list",
        "expected Limit, saw Trap",
    ),
    differs(
        "wasihttp/child/headers-of-an-incoming-request",
        CHILD,
        "core/wit/http.wit: incoming-request.headers",
        "the guest ended with Ok(())",
    ),
    differs(
        "wasihttp/child/headers-of-an-outgoing-request",
        CHILD_MUST,
        "core/wit/http.wit: outgoing-request.headers",
        "[resource-drop]outgoing-request should trap and returned",
    ),
    differs(
        "wasihttp/child/headers-of-an-outgoing-response",
        CHILD_MUST,
        "core/wit/http.wit: outgoing-response.headers",
        "[resource-drop]outgoing-response should trap and returned",
    ),
    differs(
        "wasihttp/child/trailers",
        CHILD_MUST,
        "core/wit/http.wit: future-trailers.get",
        "[resource-drop]future-trailers should trap and returned",
    ),
    differs("wasihttp/error/connection-read-timeout", CODE, CODE_LINK, NO_CODE),
    differs("wasihttp/error/http-response-body-size", CODE, CODE_LINK, NO_CODE),
    differs("wasihttp/error/http-response-incomplete", CODE, CODE_LINK, NO_CODE),
    differs("wasihttp/options/between-bytes-timeout", CODE, CODE_LINK, NO_CODE),
    differs("wasihttp/incoming/broken-body", CODE, CODE_LINK, r#"expected "part1017", saw "part100""#),
    differs(
        "wasihttp/error/every-code-of-a-guest",
        "the WIT text decides for wharf: a code arrives as the one that was given; wasmtime 48 takes \
         HTTP-response-header-size for HTTP-request-header-size",
        "core/wit/http.wit: error-code",
        "HttpResponseHeaderSize arrived as HttpRequestHeaderSize",
    ),
    differs(
        "wasihttp/incoming/headers-of-the-connection-are-left-out",
        "the WIT text leaves open which headers are forbidden; RFC 9110, section 7.6.1, decides for wharf: what \
         Connection names is not passed on; wasmtime knows a list of names and no more",
        "core/wit/http.wit: header-error.forbidden",
        r#"saw "x-own=1;x-hop=1;""#,
    ),
    differs("wasihttp/limit/fields", LIMIT, "core/wit/http.wit: fields.append", "total size of fields exceeds limit"),
    differs("wasihttp/limit/handles", LIMIT, "core/wit/http.wit: fields", "resource table has no free keys"),
    differs(
        "wasihttp/outgoing/head-may-announce-a-length",
        "the letter of the WIT text decides for wasmtime: a body whose length is not the announced one fails, whatever \
         was asked; wharf follows RFC 9110, section 9.3.2, where the answer to a HEAD announces what it does not send",
        "core/wit/http.wit: outgoing-body.finish",
        "with nothing written: unexpected Trap error",
    ),
    differs(
        "wasihttp/outgoing/length-that-is-none",
        "the WIT text leaves open whether the syntax of a value is that of its field; wasmtime refuses the header as \
         it is set, wharf the response",
        "core/wit/http.wit: fields.append",
        "an answer went out whose content-length is None",
    ),
    differs(
        "wasihttp/outgoing/status-codes",
        "the WIT text decides for wharf: setting an invalid status code fails, and 600 is invalid by RFC 9110, \
         section 15",
        "core/wit/http.wit: outgoing-response.set-status-code",
        "the answer of setting 600: expected 1, saw 0",
    ),
    differs(
        "wasihttp/outgoing/statuses-without-a-body",
        "the WIT text decides for wharf: a 304 may announce the length that its content would have (RFC 9110, section \
         8.6), and is whole without; wasmtime holds it to that length, so that `finish` fails, which traps this guest",
        "core/wit/http.wit: outgoing-body.finish",
        "the guest trapped: wasm trap: wasm `unreachable`",
    ),
    differs(
        "wasihttp/poll/time",
        "the WIT text has it resolve once the instant has occurred, and does not say that the first look finds it so: it \
         does with wharf; wasmtime lets one look go by, so that a guest that only looks does not starve other waits",
        "core/wit/clocks.wit: monotonic-clock.subscribe-instant",
        "whether a moment that has passed is ready: expected 1, saw 0",
    ),
    differs(
        "wasihttp/poll/too-many",
        "the WIT text decides for wasmtime: a list traps that is empty or too long for a u32; that wharf takes no more \
         than four times as many pollables at once as a guest has handles is a limit of its own",
        "core/wit/io.wit: poll.poll",
        "16385 pollables at once gave Ok",
    ),
    differs(
        "wasihttp/request/paths",
        "the WIT text decides for wharf: no path represents an empty one; wasmtime refuses to send such a request",
        "core/wit/http.wit: outgoing-request.set-path-with-query",
        "no path: the answer of `handle`: expected 0, saw 1",
    ),
    differs(
        "wasihttp/request/scheme-in-capitals",
        "the WIT text leaves open which schemes there are; RFC 3986, section 3.1, decides for wharf: capitals are the \
         same; wasmtime knows http and https by their cases only",
        "core/wit/http.wit: outgoing-request.set-scheme",
        "the answer of `handle`: expected 0, saw 1",
    ),
    on_reqwest(
        "outbound/policy/header-nothing-added",
        FIELDS,
        FIELDS_LINK,
        r#"expected ["host"], saw ["accept", "host"]"#,
    ),
    on_reqwest("outbound/redirect/location-as-it-was-sent", TARGET, TARGET_LINK, "/absolute: expected 0, saw 10"),
    on_reqwest("outbound/target/as-it-was-set", TARGET, TARGET_LINK, "/a/%2e%2e/b?name='x': expected 0, saw 10"),
    on_reqwest("wasihttp/sent/nothing-is-added", FIELDS, FIELDS_LINK, r#"saw ["accept", "host", "x-own"]"#),
    on_reqwest("wasihttp/sent/target-as-it-was-set", TARGET, TARGET_LINK, "the request failed with error code 19"),
    on_reqwest(
        "wasihttp/sent/target-of-the-whole-server",
        "RFC 9112 decides for hyper: a client that asks the server as a whole sends `*`; a URL cannot say so, and it is refused",
        "RFC 9112, section 3.2.4; reqwest: Request::new takes a Url",
        "the request failed with error code 19",
    ),
    differs("wasihttp/stream/permits-are-used-up", PERMIT, PERMIT_LINK, NO_TRAP),
    differs("wasihttp/stream/write-without-a-permit-traps", PERMIT, PERMIT_LINK, NO_TRAP),
];
