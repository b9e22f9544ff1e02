#!/usr/bin/env bash
# `Math.random()` outside of a function fails the build of componentize-js, and `try` does not help.
#
# Assumed: top-level code is run when the guest starts, or, as it is run at build time, sees a random number of then.
# Seen:    componentize-js 0.23.0 runs it at build time, where the first random number ends the whole build ("You cannot
#          call arbitrary imported functions during Wizer initialization"): no exception that JavaScript could catch.
#          `Date.now()` beside it works, and stays the time of the build. So a library that makes a seed or an id when it
#          is imported cannot be used, while one that takes the time is silently wrong.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

install_wasmtime 49.0.3
random() {
    js_component random 2>&1 <<'JS'
let seed = 0;
try {
  seed = Math.random();
} catch {}
addEventListener("fetch", (event) => event.respondWith(new Response(`${seed}`)));
JS
}
if output=$(random); then echo 'No longer so: it is built.' >&2; exit 1; fi
shows 'componentize-js, of Math.random()' 'cannot call arbitrary imported functions during Wizer' \
    "$(grep -v '^ *[0-9]*: 0x' <<<"$output")"

js_component clock <<'JS'
const started = Date.now();
addEventListener("fetch", (event) => event.respondWith(new Response(`age=${Date.now() - started}`)));
JS
sleep 1
serve clock.wasm
shows 'milliseconds since the top level was run, in an instance made for this request' '^age=[0-9]{4,}$' "$(ask /)"
