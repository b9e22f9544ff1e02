#!/usr/bin/env bash
# Write the matrix of a conformance run into the README, or say whether the README has it.
#
#     setup/readme-matrix.sh [--check] REPORT_DIR
#
# REPORT_DIR is what `wharf conformance --report-dir` was given.
set -euo pipefail

only_check=false
if [[ ${1-} == --check ]]; then
    only_check=true
    shift
fi
report=$(cd "$1" && pwd)/conformance.md
cd "$(dirname "${BASH_SOURCE[0]}")/.."

made=$(mktemp)
trap 'rm -f "$made"' EXIT
# The matrix is the first table of the report; it goes between two marks.
awk '
    FNR == NR {
        if (/^\|/ && !past) matrix = matrix $0 "\n"; else if (matrix != "") past = 1
        next
    }
    /^<!-- end of matrix -->$/ { inside = 0; seen++ }
    !inside { print }
    /^<!-- matrix -->$/ { printf "%s", matrix; inside = 1; seen++ }
    END { if (seen != 2 || matrix == "") exit 1 }
' "$report" README.md > "$made" || { printf 'no matrix in %s, or not both marks in README.md\n' "$report" >&2; exit 1; }

if cmp --silent "$made" README.md; then
    printf 'README.md has the matrix of this run\n'
elif $only_check; then
    diff README.md "$made" >&2 || true
    printf 'README.md has another matrix: run setup/readme-matrix.sh %s\n' "$1" >&2
    exit 1
else
    cat "$made" > README.md
    printf 'README.md: matrix written\n'
fi
