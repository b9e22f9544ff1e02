#!/usr/bin/env bash
# A Python component that is a command and a handler cannot use the event loop that componentize-py brings.
#
# Assumed: two worlds that each work (`wasi:cli/command`, `wasi:http/proxy`) work together, as WIT's `include` has it.
# Seen:    componentize-py 0.25.1 names the module of an interface by its last word as long as that is unique. With
#          `wasi:cli/command` there is `wasi:filesystem/types` beside `wasi:http/types`: both get longer names, and
#          `import poll_loop`, which comes with the tool, fails for its own `from wit_world.imports import types`. So adding an
#          import to a world renames modules that a program uses.
source "$(dirname "${BASH_SOURCE[0]}")/support.bash"

python_packages componentize-py==0.25.1
wit_packages
cat >app.py <<'PYTHON'
import poll_loop

from wit_world import exports


class Run(exports.Run):
    def run(self) -> None:
        print(poll_loop.PollLoop())


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request, response_out) -> None:
        pass
PYTHON

componentize() { # the worlds that are included
    printf 'package finding:app;\nworld app { %s export wasi:cli/run@0.2.10; }\n' "$1" >wit/world.wit
    venv/bin/componentize-py --wit-path wit --world app componentize app --output app.wasm 2>&1
}

shows 'the handler with a `run` of its own' 'built successfully' "$(componentize 'include wasi:http/proxy@0.2.10;')"
if output=$(componentize 'include wasi:http/proxy@0.2.10; include wasi:cli/command@0.2.10;'); then
    echo 'No longer so: it is built.' >&2
    exit 1
fi
shows 'the same with wasi:cli/command' "ImportError: cannot import name 'types'" "$output"
