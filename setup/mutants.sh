#!/usr/bin/env bash
# Change core's ABIs and outbound HTTP in many small ways, one at a time, and see whether a test of the crate fails.
#
#     setup/mutants.sh SEED COUNT [DIR]    COUNT mutants, drawn by SEED; what came of them is in DIR/mutants.out
#     setup/mutants.sh --score [DIR]       how many were caught, by area, and which were not
#
# `.cargo/mutants.toml` says what is changed. A mutant's place in the draw follows from the seed and its name alone, so that
# the same commit gives the same sample on any machine. DIR is target/mutants.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=27.0.0

score() {
    python3 - "$1" <<'PYTHON'
import json, sys
from collections import Counter, defaultdict

areas = [
    ("outbound HTTP", "core/http/src/"),
    ("wasi_experimental_http", "core/src/abi/experimental/"),
    ("preview 1: sockets", "core/src/abi/preview1/sock/"),
    ("preview 1: the rest", "core/src/abi/preview1/"),
    ("WASI 0.2: canonical ABI", "core/src/abi/wasi02/canon/"),
    ("WASI 0.2: wasi:http", "core/src/abi/wasi02/http/"),
    ("WASI 0.2: the rest", "core/src/abi/wasi02/"),
    ("composed components", "core/src/abi/composed/"),
    ("memory, messages, paths", "core/src/"),
]
# cargo-mutants 27.0.0 leaves its mutants that delete a field in, whatever is asked for: those not drawn do not count.
drawn = set(open(sys.argv[1] + "/sample").read().splitlines())
counts, missed = defaultdict(Counter), []
for outcome in json.load(open(sys.argv[1] + "/mutants.out/outcomes.json"))["outcomes"]:
    mutant = outcome["scenario"] != "Baseline" and outcome["scenario"]["Mutant"]
    if not mutant or mutant["name"] not in drawn:
        continue
    area = next(name for name, path in areas if mutant["file"].startswith(path))
    counts[area][outcome["summary"]] += 1
    if outcome["summary"] == "MissedMutant":
        missed.append(mutant["name"])
total = sum(counts.values(), Counter())
print("| area | viable | caught | timed out | missed | score |\n|---|--:|--:|--:|--:|--:|")
for name, count in [(name, counts[name]) for name, _ in areas if counts[name]] + [("all", total)]:
    caught, late, lost = count["CaughtMutant"], count["Timeout"], count["MissedMutant"]
    viable = caught + late + lost
    score = f"{100 * (caught + late) / viable:.1f} %" if viable else ""
    print(f"| {name} | {viable} | {caught} | {late} | {lost} | {score} |")
print(f"\n{total['Unviable']} more did not compile.\n")
print("\n".join(sorted(missed)))
PYTHON
}

if [[ ${1-} == --score ]]; then
    score "${2:-target/mutants}"
    exit
fi
[[ $# -ge 2 ]] || { sed -n '2,9s/^# \?//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
seed=$1 count=$2 out=${3:-target/mutants}

if [[ $(cargo mutants --version 2>/dev/null) != "cargo-mutants $version" ]]; then
    printf 'mutants.sh: cargo-mutants %s is needed: cargo install --locked cargo-mutants --version %s\n' "$version" "$version" >&2
    exit 1
fi

mkdir -p "$out"
# A digest of seed and name orders them; what an expression takes for its own is escaped.
cargo mutants --list -p wharf-core -p wharf-http >"$out/all"
python3 - "$seed" "$count" "$out/all" >"$out/sample" <<'PYTHON'
import hashlib, sys
seed, count, names = sys.argv[1], int(sys.argv[2]), open(sys.argv[3]).read().splitlines()
names.sort(key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
print("\n".join(names[:count]))
PYTHON
printf 'mutants.sh: %d of %d mutants, by seed %s\n' "$(wc -l <"$out/sample")" "$(wc -l <"$out/all")" "$seed"

mapfile -t chosen < <(sed 's/[][\\.*^$+?(){}|&~#-]/\\&/g; s/.*/--re=^&$/' "$out/sample")
status=0
# Nobody reads a backtrace of these; without line tables they are built faster.
export CARGO_PROFILE_DEV_DEBUG=false CARGO_INCREMENTAL=1
cargo mutants -p wharf-core -p wharf-http --output "$out" "${chosen[@]}" || status=$?
# 2: some were missed; 3: some timed out. Both are results.
[[ $status == [023] ]] || exit "$status"
score "$out"
