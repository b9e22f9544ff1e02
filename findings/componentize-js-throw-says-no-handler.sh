#!/usr/bin/env bash
# A handler of componentize-js that throws before it calls `respondWith` tells the client that no handler was registered.
#
# Assumed: a thrown error is an empty 500, as it is where the promise given to `respondWith` is rejected.
# Seen:    with componentize-js 0.23.0 on wasmtime 49.0.3, 500 with the text `ERROR: no fetch-event handler triggered, was
#          one registered?`, which sends whoever reads it looking for a missing `addEventListener`.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

install_wasmtime 49.0.3
js_component throws <<'JS'
addEventListener("fetch", (event) => {
  if (event.request.url.endsWith("/now")) throw new Error("from the handler");
  event.respondWith(Promise.reject(new Error("from its promise")));
});
JS
serve throws.wasm
later=$(ask /later)
shows 'a rejected promise' '^HTTP/1.1 500 ' "$later"
if grep -q registered <<<"$later"; then echo 'No longer so: both ways say it.' >&2; exit 1; fi
shows 'thrown at once' '^ERROR: no fetch-event handler triggered, was one registered\?$' "$(ask /now)"
shows 'the log, where the handler is known well' 'throws.js:2.*from the handler' "$(cat log)"
