#!/usr/bin/env bash
# Build the book from the documents of the tree. A link or anchor that leads nowhere fails.
#
#     setup/book.sh [DIRECTORY]     (target/book by default)
set -euo pipefail

directory=$(realpath -m "${1:-"$(dirname "${BASH_SOURCE[0]}")/../target/book"}")
cd "$(dirname "${BASH_SOURCE[0]}")"
pins=book/requirements.txt
digest=$(sha256sum "$pins")
tools=${WHARF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wharf}/book-${digest:0:16}

./venv.sh "$tools" --requirement "$pins"
# Its theme would tell about another program of its authors. Only what is wrong is printed; `--quiet` would let it pass.
NO_MKDOCS_2_WARNING=1 "$tools/bin/mkdocs" build --strict --config-file book/mkdocs.yml --site-dir "$directory" 2> >(grep -v '^INFO' >&2)
printf 'the book is in %s; for its search, run python3 -m http.server --directory %s\n' "$directory" "$directory"
