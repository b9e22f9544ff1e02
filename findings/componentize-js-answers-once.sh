#!/usr/bin/env bash
# An instance of a componentize-js handler answers one request in its life.
#
# Assumed: a host that keeps instances (`wasmtime serve --max-instance-reuse-count`) saves their start and nothing else
#          changes: `wasi:http/incoming-handler` says nothing against a second call.
# Seen:    with componentize-js 0.23.0, `respondWith` throws at the second request, "can't be called twice on the same
#          event", although each request has an event of its own. On wasmtime 49.0.3 every later one is a 500.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

install_wasmtime 49.0.3
js_component twice <<'JS'
addEventListener("fetch", (event) => event.respondWith(new Response("here you are")));
JS
serve --max-instance-reuse-count 10 twice.wasm
shows 'the first request' '^HTTP/1.1 200 OK$' "$(ask /)"
shows 'the second' '^HTTP/1.1 500 ' "$(ask / | head -n 1)"
shows 'the log' "FetchEvent#respondWith can't be called twice on the same event" "$(grep -v '^ *[0-9]*:' log)"
