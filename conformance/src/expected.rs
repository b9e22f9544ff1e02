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
pub const NATIVE: &str = "wasmtime-native";

/// A difference between wharf's own host, for which the case speaks, and wasmtime's: what the WIT text says, where, and
/// the words that tell both outcomes.
const fn differs(id: &'static str, reason: &'static str, link: &'static str, message: &'static str) -> Expected {
    Expected { backend: NATIVE, id, reason, link, message }
}

/// The failures known on the backends that wharf ships. A difference that is not here fails, and so does one that is
/// here and no more to be seen.
pub const EXPECTED: &[Expected] = &[
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
        "the WIT text decides for wharf: headers are a child, and dropping their parent first traps",
        "core/wit/http.wit: outgoing-request.headers",
        "[resource-drop]outgoing-request should trap and returned",
    ),
    differs(
        "wasihttp/outbound/response-headers-are-immutable-children",
        "the WIT text decides for wharf: headers are a child, and dropping their parent first traps",
        "core/wit/http.wit: incoming-response.headers",
        "[resource-drop]incoming-response should trap and returned",
    ),
    differs(
        "wasihttp/outbound/invalid-parts",
        "the WIT text decides for wharf: an authority whose port is no number is not syntactically valid",
        "core/wit/http.wit: outgoing-request.set-authority",
        r#"setting authority to "host:port": expected 1, saw 0"#,
    ),
    differs(
        "wasihttp/outbound/broken-body",
        "the WIT text decides for wharf: an error that comes of HTTP has its code; wasmtime 48 looks for it under another \
         type than its bodies carry",
        "core/wit/http.wit: http-error-code",
        "whether the error is one of HTTP: expected 1, saw 0",
    ),
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
        "wasihttp/sockets/are-refused",
        "the WIT text decides for wharf: what is not granted is access-denied; wasmtime says that the name cannot be resolved",
        "core/wit/sockets.wit: error-code",
        "its error code: expected 1, saw 20",
    ),
];
