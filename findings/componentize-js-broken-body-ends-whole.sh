#!/usr/bin/env bash
# A response of componentize-js whose stream fails is ended as if it were whole.
#
# Assumed: where the stream of a body errors, the client sees the message break off, as the Fetch standard has it.
# Seen:    with componentize-js 0.23.0 on wasmtime 49.0.3, the last chunk is sent and the length is right by all that the
#          client can know. A proxy written as `new Response(upstream.body)` turns a cut download into a shorter file.
#          Only the guest's stderr tells.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

install_wasmtime 49.0.3
js_component broken <<'JS'
addEventListener("fetch", (event) => {
  const pieces = ["half of it"];
  const body = new ReadableStream({
    pull(controller) {
      const piece = pieces.shift();
      if (piece === undefined) controller.error(new Error("the source is gone"));
      else controller.enqueue(new TextEncoder().encode(piece));
    },
  });
  event.respondWith(new Response(body));
});
JS
serve broken.wasm
answer=$(ask /; echo end)
shows 'the answer' '^half of it$' "$answer"
shows 'its last lines, the last chunk among them' '^0  end$' "$(tail -n 3 <<<"$answer" | tr '\n' ' ' | sed 's/ $//')"
shows 'the log' 'closed during body streaming' "$(cat log)"
