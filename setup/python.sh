#!/usr/bin/env bash
# Provide componentize-py, which makes components of Python programs.
#
#     eval "$(setup/python.sh)"     (setup/guests/python.sh does this)
#
# stdout carries one `export` line; everything meant for people goes to stderr.
#
#   WHARF_PYTHON_TOOLS   the environment it is installed in; its programs are in bin/
set -euo pipefail

componentize_py=0.25.1
tools=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}/python-$componentize_py

"$(dirname "${BASH_SOURCE[0]}")/venv.sh" "$tools" "componentize-py==$componentize_py"
printf 'export WHARF_PYTHON_TOOLS=%q\n' "$(realpath "$tools")"
