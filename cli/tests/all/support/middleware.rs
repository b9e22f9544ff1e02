//! A middleware of `wasi:http` 0.3, as text.

use super::composed::LIBC;

/// The error codes of `wasi:http/types`, all of which a component has to name that names one.
const CODES: &str = r#"
    (type $dns' (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns (eq $dns')))
    (type $alert' (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $alert (eq $alert')))
    (type $size' (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size')))
    (type $code' (variant
        (case "DNS-timeout") (case "DNS-error" $dns) (case "destination-not-found") (case "destination-unavailable")
        (case "destination-IP-prohibited") (case "destination-IP-unroutable") (case "connection-refused")
        (case "connection-terminated") (case "connection-timeout") (case "connection-read-timeout")
        (case "connection-write-timeout") (case "connection-limit-reached") (case "TLS-protocol-error")
        (case "TLS-certificate-error") (case "TLS-alert-received" $alert) (case "HTTP-request-denied")
        (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
        (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
        (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $size))
        (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $size)
        (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
        (case "HTTP-response-header-size" $size) (case "HTTP-response-body-size" (option u64))
        (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $size)
        (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
        (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error")
        (case "loop-detected") (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $code (eq $code')))"#;

/// What both handlers begin with: the next handler, the function that gives a request another authority, and a memory that
/// holds `authority` at 64 and `message` at 512.
fn before(authority: &str, message: &str) -> String {
    format!(
        r#"
        (import "wasi:http/types@0.3.0" (instance $types
            (export "request" (type $request (sub resource)))
            (export "response" (type $response (sub resource)))
            {CODES}
            (export "[method]request.set-authority"
                (func (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))))
        (alias export $types "request" (type $request))
        (alias export $types "response" (type $response))
        (alias export $types "error-code" (type $code))
        (type $answer (result (own $response) (error $code)))
        (type $handle (func async (param "request" (own $request)) (result $answer)))
        (import "wasi:http/handler@0.3.0" (instance $next (export "handle" (func (type $handle)))))
        (core module $libc {LIBC} (data (i32.const 64) "{authority}") (data (i32.const 512) "{message}"))
        (core instance $libc (instantiate $libc))
        (core func $address (canon lower (func $types "[method]request.set-authority")
            (memory (core memory $libc "memory"))))
        (core func $next (canon lower (func $next "handle")
            (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))"#
    )
}

/// A component that hands every request on to the next handler, and its answer back. The request goes where it was sent, or
/// to `authority`.
pub(crate) fn middleware(authority: Option<&str>) -> Vec<u8> {
    let length = authority.unwrap_or_default().len();
    let set = if authority.is_some() {
        format!("(call $address (local.get $request) (i32.const 1) (i32.const 64) (i32.const {length}))")
    } else {
        "(i32.const 0)".to_owned()
    };
    let before = before(authority.unwrap_or_default(), "");
    let text = format!(
        r#"(component
        {before}
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "" "address" (func $address (param i32 i32 i32 i32) (result i32)))
            (import "" "next" (func $next (param i32 i32)))
            (func (export "handle") (param $request i32) (result i32)
                (if {set} (then (unreachable)))
                (call $next (local.get $request) (i32.const 1024))
                (i32.const 1024)))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
            (export "address" (func $address)) (export "next" (func $next))))))
        (func $handle (type $handle) (canon lift (core func $i "handle") (memory (core memory $libc "memory"))))
        (instance $out (export "handle" (func $handle)))
        (export "wasi:http/handler@0.3.0" (instance $out)))"#
    );
    wat::parse_str(text).expect("the text assembles")
}

/// A handler that has its answer from the next one, of this authority, and then works on for so many milliseconds, and logs
/// that it has.
pub(crate) fn lingering(authority: &str, milliseconds: u64) -> Vec<u8> {
    let length = authority.len();
    let before = before(authority, "worked on");
    let text = format!(
        r#"(component
        {before}
        (import "wasi:clocks/monotonic-clock@0.3.0" (instance $clock
            (export "wait-for" (func async (param "how-long" u64)))))
        (import "wasi:logging/logging" (instance $logging
            (type $level' (enum "trace" "debug" "info" "warn" "error" "critical"))
            (export "level" (type $level (eq $level')))
            (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
        (core func $wait (canon lower (func $clock "wait-for")))
        (core func $log (canon lower (func $logging "log") (memory (core memory $libc "memory"))))
        (core func $return (canon task.return (result $answer) (memory (core memory $libc "memory"))))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "" "address" (func $address (param i32 i32 i32 i32) (result i32)))
            (import "" "next" (func $next (param i32 i32)))
            (import "" "wait" (func $wait (param i64)))
            (import "" "log" (func $log (param i32 i32 i32 i32 i32)))
            (import "" "return" (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))
            (func (export "handle") (param $request i32) (result i32)
                (if (call $address (local.get $request) (i32.const 1) (i32.const 64) (i32.const {length}))
                    (then (unreachable)))
                (call $next (local.get $request) (i32.const 1024))
                (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
                (call $return (i32.const 0) (i32.load (i32.const 1032)) (i32.const 0) (i64.const 0)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                (call $wait (i64.const {milliseconds}000000))
                (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 9))
                (i32.const 0))
            (func (export "callback") (param i32 i32 i32) (result i32) (unreachable)))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
            (export "address" (func $address)) (export "next" (func $next)) (export "wait" (func $wait))
            (export "log" (func $log)) (export "return" (func $return))))))
        (func $handle (type $handle) (canon lift (core func $i "handle")
            async (callback (core func $i "callback")) (memory (core memory $libc "memory"))))
        (instance $out (export "handle" (func $handle)))
        (export "wasi:http/handler@0.3.0" (instance $out)))"#
    );
    wat::parse_str(text).expect("the text assembles")
}
