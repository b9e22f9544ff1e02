"""HTTP from a guest in Python, on the event loop that componentize-py brings. A component that is a command and a
server, with a module for each way:

    wharf run http-py.wasm fetch URL [METHOD [BODY]] [NAME:VALUE]...
    wharf run http-py.wasm form URL [NAME=VALUE]...
    wharf run http-py.wasm download URL [FILE]
    wharf serve -e UPSTREAM=ORIGIN http-py.wasm     a proxy
    wharf serve http-py.wasm                        a server
"""

import asyncio
import os
import sys
from collections.abc import Coroutine

from componentize_py_types import Err
from poll_loop import PollLoop
from wit_world import exports
from wit_world.imports.exit import exit_with_code
from wit_world.imports.types import IncomingRequest, ResponseOutparam

from download import download
from fetch import fetch
from form import form
from proxy import proxy
from server import answer
from wire import describe

COMMANDS = {"fetch": fetch, "form": form, "download": download}


class Run(exports.Run):
    """What `wharf run` calls."""

    def run(self) -> None:
        _, *args = sys.argv
        command = COMMANDS.get(args[0]) if len(args) > 1 else None
        if command is None:
            print("usage: http-py fetch|form|download URL ...", file=sys.stderr, flush=True)
            exit_with_code(2)
        try:
            complete(command(*args[1:]))
        except (Err, OSError, ValueError) as error:
            print(f"http-py: {describe(error)}", file=sys.stderr, flush=True)
            # As a result of this function it is exit code 1.
            raise Err(None) from None


class IncomingHandler(exports.IncomingHandler):
    """What `wharf serve` calls."""

    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        upstream = os.environ.get("UPSTREAM")
        if upstream is None:
            complete(answer(request, response_out))
        else:
            complete(proxy(request, response_out, upstream))


def complete(work: Coroutine[object, object, None]) -> None:
    loop = PollLoop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(work)
