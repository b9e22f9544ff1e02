//! Components that are composed of several, as text.

/// An allocator, and what each of these components has.
pub(crate) const LIBC: &str = r#"
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func $realloc (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $wanted i32) (result i32)
        (local $at i32)
        (if (i32.le_u (local.get $wanted) (local.get $size)) (then (return (local.get $old))))
        (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.set $next (i32.add (local.get $at) (local.get $wanted)))
        (memory.copy (local.get $at) (local.get $old) (local.get $size))
        (local.get $at))"#;

/// A command whose `run` has another component give its string back, and compares.
pub(crate) fn echo(speaks: &str, hears: &str, text: &str) -> String {
    let compact_utf16 = speaks == "latin1+utf16" && text.chars().any(|c| u32::from(c) > 0xff);
    let bytes: Vec<u8> = match speaks {
        "utf8" => text.bytes().collect(),
        "latin1+utf16" if !compact_utf16 => text.chars().map(|c| c as u8).collect(),
        _ => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    };
    let units = if speaks == "utf16" || compact_utf16 { bytes.len() / 2 } else { bytes.len() };
    let length = units as u32 | if compact_utf16 { 1 << 31 } else { 0 };
    let size = bytes.len();
    let data: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        r#"(component
        (component $echo
            (core module $m {LIBC}
                (func (export "echo") (param i32 i32) (result i32)
                    (i32.store (i32.const 8) (local.get 0)) (i32.store (i32.const 12) (local.get 1)) (i32.const 8)))
            (core instance $i (instantiate $m))
            (func (export "echo") (param "text" string) (result string)
                (canon lift (core func $i "echo") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))
                    string-encoding={hears})))
        (component $speaker
            (import "echo" (func $echo (param "text" string) (result string)))
            (core module $libc {LIBC} (data (i32.const 64) "{data}"))
            (core instance $libc (instantiate $libc))
            (core func $echo (canon lower (func $echo)
                (memory (core memory $libc "memory")) (realloc (core func $libc "realloc")) string-encoding={speaks}))
            (core module $m
                (import "libc" "memory" (memory 1))
                (import "" "echo" (func $echo (param i32 i32 i32)))
                (func (export "run") (result i32)
                    (local $at i32)
                    (call $echo (i32.const 64) (i32.const {length}) (i32.const 8))
                    (if (i32.ne (i32.load (i32.const 12)) (i32.const {length})) (then (return (i32.const 1))))
                    (block $same (loop $next
                        (br_if $same (i32.eq (local.get $at) (i32.const {size})))
                        (if (i32.ne
                                (i32.load8_u (i32.add (i32.const 64) (local.get $at)))
                                (i32.load8_u (i32.add (i32.load (i32.const 8)) (local.get $at))))
                            (then (return (i32.const 1))))
                        (local.set $at (i32.add (local.get $at) (i32.const 1)))
                        (br $next)))
                    (i32.eq (i32.load (i32.const 8)) (i32.const 64))))
            (core instance $i (instantiate $m
                (with "libc" (instance $libc)) (with "" (instance (export "echo" (func $echo))))))
            (func (export "run") (result (result)) (canon lift (core func $i "run"))))
        (instance $echo (instantiate $echo))
        (instance $speaker (instantiate $speaker (with "echo" (func $echo "echo"))))
        (instance $run (export "run" (func $speaker "run")))
        (export "wasi:cli/run@0.2.3" (instance $run)))"#
    )
}

/// A component that makes things, and one that uses them as `steps` say: `$make` gives one, `$read` borrows it,
/// `$eat` takes it, `$drop` drops it; `$ended` tells how many have ended.
pub(crate) fn things(steps: &str) -> String {
    format!(
        r#"(component
        (component $maker
            (core module $count
                (global $ended (mut i32) (i32.const 0))
                (func (export "end") (param i32) (global.set $ended (i32.add (global.get $ended) (local.get 0))))
                (func (export "ended") (result i32) (global.get $ended)))
            (core instance $count (instantiate $count))
            (type $r (resource (rep i32) (dtor (core func $count "end"))))
            (core func $new (canon resource.new $r))
            (core func $rep (canon resource.rep $r))
            (core func $drop (canon resource.drop $r))
            (core module $m
                (import "" "new" (func $new (param i32) (result i32)))
                (import "" "rep" (func $rep (param i32) (result i32)))
                (import "" "drop" (func $drop (param i32)))
                (func (export "make") (param i32) (result i32) (call $new (local.get 0)))
                (func (export "read") (param i32) (result i32) (local.get 0))
                (func (export "eat") (param i32) (result i32)
                    (call $rep (local.get 0)) (call $drop (local.get 0))))
            (core instance $i (instantiate $m (with "" (instance
                (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
            (export $out "thing" (type $r))
            (func (export "make") (param "n" u32) (result (own $out)) (canon lift (core func $i "make")))
            (func (export "read") (param "t" (borrow $out)) (result u32) (canon lift (core func $i "read")))
            (func (export "eat") (param "t" (own $out)) (result u32) (canon lift (core func $i "eat")))
            (func (export "ended") (result u32) (canon lift (core func $count "ended"))))
        (component $user
            (import "maker" (instance $maker
                (export "thing" (type $thing (sub resource)))
                (export "make" (func (param "n" u32) (result (own $thing))))
                (export "read" (func (param "t" (borrow $thing)) (result u32)))
                (export "eat" (func (param "t" (own $thing)) (result u32)))
                (export "ended" (func (result u32)))))
            (alias export $maker "thing" (type $thing))
            (core func $make (canon lower (func $maker "make")))
            (core func $read (canon lower (func $maker "read")))
            (core func $eat (canon lower (func $maker "eat")))
            (core func $ended (canon lower (func $maker "ended")))
            (core func $drop (canon resource.drop $thing))
            (core module $m
                (import "" "make" (func $make (param i32) (result i32)))
                (import "" "read" (func $read (param i32) (result i32)))
                (import "" "eat" (func $eat (param i32) (result i32)))
                (import "" "ended" (func $ended (result i32)))
                (import "" "drop" (func $drop (param i32)))
                (func $must (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then (unreachable))))
                (func (export "run") (result i32) (local $a i32) (local $b i32) {steps} (i32.const 0)))
            (core instance $i (instantiate $m (with "" (instance
                (export "make" (func $make)) (export "read" (func $read)) (export "eat" (func $eat))
                (export "ended" (func $ended)) (export "drop" (func $drop))))))
            (func (export "run") (result (result)) (canon lift (core func $i "run"))))
        (instance $maker (instantiate $maker))
        (instance $user (instantiate $user (with "maker" (instance $maker))))
        (instance $run (export "run" (func $user "run")))
        (export "wasi:cli/run@0.2.3" (instance $run)))"#
    )
}

/// What both components of the pair know of `wasi:http/types`.
const TYPES: &str = r#"
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type $request (sub resource)))
    (export "outgoing-response" (type $response (sub resource)))
    (export "response-outparam" (type $outparam (sub resource)))
    (type $size' (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $size (eq $size')))
    (type $code' (variant (case "body" (option u64)) (case "field" (option $size))))
    (export "error-code" (type $code (eq $code')))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $response))))
    (export "[method]outgoing-response.set-status-code"
        (func (param "self" (borrow $response)) (param "status-code" u16) (result (result))))
    (export "[method]incoming-request.path-with-query"
        (func (param "self" (borrow $request)) (result (option string))))
    (export "[static]response-outparam.set"
        (func (param "param" (own $outparam)) (param "response" (result (own $response) (error $code)))))"#;

/// A component that answers requests as `handle` says, which finds `$path` (the request's length of path), `$answer`
/// (with a status) and what `imports` give it.
fn answers(imports: &str, lowered: &str, core_imports: &str, with: &str, handle: &str) -> String {
    format!(
        r#"(import "types" (instance $types {TYPES}))
        (alias export $types "incoming-request" (type $request))
        (alias export $types "response-outparam" (type $outparam))
        {imports}
        (core module $libc {LIBC})
        (core instance $libc (instantiate $libc))
        (core func $fields (canon lower (func $types "[constructor]fields")))
        (core func $response (canon lower (func $types "[constructor]outgoing-response")))
        (core func $status (canon lower (func $types "[method]outgoing-response.set-status-code")))
        (core func $path (canon lower (func $types "[method]incoming-request.path-with-query")
            (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
        (core func $set (canon lower (func $types "[static]response-outparam.set")
            (memory (core memory $libc "memory"))))
        (core func $drop (canon resource.drop $request))
        {lowered}
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "" "fields" (func $fields (result i32)))
            (import "" "response" (func $response (param i32) (result i32)))
            (import "" "status" (func $status (param i32 i32) (result i32)))
            (import "" "path" (func $path' (param i32 i32)))
            (import "" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
            (import "" "drop" (func $drop (param i32)))
            {core_imports}
            (func $path (param i32) (result i32) (call $path' (local.get 0) (i32.const 16)) (i32.load (i32.const 24)))
            (func $answer (param $out i32) (param $code i32)
                (local $r i32)
                (local.set $r (call $response (call $fields)))
                (drop (call $status (local.get $r) (local.get $code)))
                (call $set (local.get $out) (i32.const 0) (local.get $r)
                    (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
            (func (export "handle") (param $request i32) (param $out i32) {handle}))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
            (export "fields" (func $fields)) (export "response" (func $response)) (export "status" (func $status))
            (export "path" (func $path)) (export "set" (func $set)) (export "drop" (func $drop)) {with}))))
        (func (export "handle") (param "request" (own $request)) (param "response-out" (own $outparam))
            (canon lift (core func $i "handle")))"#
    )
}

/// A middleware that answers paths of five bytes itself, and passes all else on to a handler. Both read the path, each
/// into its own memory.
pub(crate) fn pair() -> String {
    let handler = answers(
        "",
        "",
        "",
        "",
        "(call $answer (local.get $out) (i32.add (i32.const 200) (call $path (local.get $request))))
         (call $drop (local.get $request))",
    );
    let middleware = answers(
        r#"(import "inner" (func $inner (param "request" (own $request)) (param "response-out" (own $outparam))))"#,
        "(core func $inner (canon lower (func $inner)))",
        r#"(import "" "inner" (func $inner (param i32 i32)))"#,
        r#"(export "inner" (func $inner))"#,
        "(if (i32.eq (call $path (local.get $request)) (i32.const 5))
            (then (call $answer (local.get $out) (i32.const 403)) (call $drop (local.get $request)))
            (else (call $inner (local.get $request) (local.get $out))))",
    );
    format!(
        r#"(component
        (import "wasi:http/types@0.2.3" (instance $types {TYPES}))
        (component $handler {handler})
        (component $middleware {middleware})
        (instance $handler (instantiate $handler (with "types" (instance $types))))
        (instance $middleware (instantiate $middleware
            (with "types" (instance $types)) (with "inner" (func $handler "handle"))))
        (instance $out (export "handle" (func $middleware "handle")))
        (export "wasi:http/incoming-handler@0.2.3" (instance $out)))"#
    )
}

/// A component that calls another one asynchronously, with a text and a stream, and waits for what it makes of them.
pub(crate) fn waiting() -> String {
    let memory = r#"(memory (core memory $libc "memory"))"#;
    let realloc = r#"(realloc (core func $libc "realloc"))"#;
    let service = format!(
        r#"(core module $libc {LIBC})
        (core instance $libc (instantiate $libc))
        (type $bytes (stream u8))
        (core func $read (canon stream.read $bytes async {memory}))
        (core func $drop (canon stream.drop-readable $bytes))
        (core func $set-new (canon waitable-set.new))
        (core func $join (canon waitable.join))
        (core func $return (canon task.return (result string) {memory}))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "" "read" (func $read (param i32 i32 i32) (result i32)))
            (import "" "drop" (func $drop (param i32)))
            (import "" "set-new" (func $set-new (result i32)))
            (import "" "join" (func $join (param i32 i32)))
            (import "" "return" (func $return (param i32 i32)))
            (global $at (mut i32) (i32.const 0))
            (global $length (mut i32) (i32.const 0))
            (func (export "go") (param i32 i32 i32) (result i32)
                (local i32)
                (global.set $at (local.get 0))
                (global.set $length (local.get 1))
                (drop (call $read (local.get 2) (i32.const 512) (i32.const 100)))
                (local.set 3 (call $set-new))
                (call $join (local.get 2) (local.get 3))
                (i32.or (i32.const 2) (i32.shl (local.get 3) (i32.const 4))))
            (func (export "callback") (param i32 i32 i32) (result i32)
                (call $join (local.get 1) (i32.const 0))
                (call $drop (local.get 1))
                (i32.store8 (global.get $at) (i32.load8_u (i32.const 512)))
                (call $return (global.get $at) (global.get $length))
                (i32.const 0)))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
            (export "read" (func $read)) (export "drop" (func $drop)) (export "set-new" (func $set-new))
            (export "join" (func $join)) (export "return" (func $return))))))
        (func (export "go") async (param "text" string) (param "bytes" $bytes) (result string)
            (canon lift (core func $i "go") async (callback (core func $i "callback")) {memory} {realloc}))"#
    );
    let front = format!(
        r#"(type $bytes (stream u8))
        (import "go" (func $go async (param "text" string) (param "bytes" $bytes) (result string)))
        (core module $libc {LIBC} (data (i32.const 64) "some text"))
        (core instance $libc (instantiate $libc))
        (core func $go (canon lower (func $go) async {memory} {realloc}))
        (core func $new (canon stream.new $bytes))
        (core func $write (canon stream.write $bytes async {memory}))
        (core func $set-new (canon waitable-set.new))
        (core func $join (canon waitable.join))
        (core func $drop (canon subtask.drop))
        (core func $return (canon task.return (result (result))))
        (core module $m
            (import "libc" "memory" (memory 1))
            (import "" "go" (func $go (param i32 i32 i32 i32) (result i32)))
            (import "" "new" (func $new (result i64)))
            (import "" "write" (func $write (param i32 i32 i32) (result i32)))
            (import "" "set-new" (func $set-new (result i32)))
            (import "" "join" (func $join (param i32 i32)))
            (import "" "drop" (func $drop (param i32)))
            (import "" "return" (func $return (param i32)))
            (func (export "run") (result i32)
                (local i64 i32 i32)
                (local.set 0 (call $new))
                (local.set 1 (i32.shr_u
                    (call $go (i32.const 64) (i32.const 9) (i32.wrap_i64 (local.get 0)) (i32.const 256)) (i32.const 4)))
                (drop (call $write (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32))) (i32.const 68) (i32.const 5)))
                (local.set 2 (call $set-new))
                (call $join (local.get 1) (local.get 2))
                (i32.or (i32.const 2) (i32.shl (local.get 2) (i32.const 4))))
            (func (export "callback") (param i32 i32 i32) (result i32)
                (call $drop (local.get 1))
                (call $return (i32.ne (i32.load8_u (i32.load (i32.const 256))) (i32.const 0x20)))
                (i32.const 0)))
        (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "" (instance
            (export "go" (func $go)) (export "new" (func $new)) (export "write" (func $write))
            (export "set-new" (func $set-new)) (export "join" (func $join)) (export "drop" (func $drop))
            (export "return" (func $return))))))
        (func (export "run") async (result (result))
            (canon lift (core func $i "run") async (callback (core func $i "callback"))))"#
    );
    format!(
        r#"(component
        (component $service {service})
        (component $front {front})
        (instance $service (instantiate $service))
        (instance $front (instantiate $front (with "go" (func $service "go"))))
        (instance $run (export "run" (func $front "run")))
        (export "wasi:cli/run@0.3.0" (instance $run)))"#
    )
}
