#!/usr/bin/env bash
# What takes too long for every change, and is run before a release. Each piece runs for at most BUDGET_S seconds (600 unless
# told otherwise) and leaves a mark when it has passed, so that a run that was cut goes on where it was; FRESH=1 forgets the
# marks. Name pieces to run only these: tools/deep-check.sh fuzz kills
#
# Needs nightly Rust, and the network for what is missing (rust-src, cargo-deny, cargo-fuzz, cargo-mutants).
set -uo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

budget=${BUDGET_S:-600}
target=${CARGO_TARGET_DIR:-target}
marks=$target/deep-check
host=$(rustc -vV | sed -n 's/^host: //p')
[[ ${FRESH:-} == 1 ]] && rm -rf "$marks"
mkdir -p "$marks"
failed=()

# piece NAME COMMAND…: runs it once, within the budget. What is cut by the budget without a failure has passed as far as it came.
piece() {
    local name=$1
    shift
    [[ ${#wanted[@]} -gt 0 && ! " ${wanted[*]} " == *" ${name%%.*} "* ]] && return
    if [[ -e $marks/$name ]]; then
        printf -- '-- %s: passed before\n' "$name"
        return
    fi
    printf '\n== %s: %s\n' "$name" "$*"
    local start=$SECONDS status=0
    timeout --signal=INT --kill-after=30 "$budget" "$@" || status=$?
    case $status in
        0) touch "$marks/$name"; printf -- '-- %s: passed, %d s\n' "$name" $((SECONDS - start)) ;;
        124 | 137) printf -- '-- %s: no failure within %d s, not ended\n' "$name" "$budget" ;;
        *) failed+=("$name"); printf -- '-- %s: FAILED with %d, %d s\n' "$name" "$status" $((SECONDS - start)) ;;
    esac
}

need() {
    cargo "$1" --version >/dev/null 2>&1 || cargo install --quiet --locked "cargo-$1"
}

wanted=("$@")
any() { [[ ${#wanted[@]} == 0 || " ${wanted[*]} " == *" $1 "* ]]; }

# Licences, bans, sources.
if any deny; then
    need deny
    piece deny cargo deny check licenses bans sources
fi

# The sanitizers need the standard library's source.
if any tsan || any asan; then
    rustup component list --toolchain nightly --installed | grep -q '^rust-src' ||
        rustup component add rust-src --toolchain nightly
fi

# ThreadSanitizer on what has threads: the pipeline's own tests, emitters, states, accounting. The standard library is built with it.
piece tsan.lib env RUSTFLAGS=-Zsanitizer=thread RUST_TEST_THREADS=2 \
    cargo +nightly test -Zbuild-std --target "$host" --target-dir "$target/tsan" --lib -- pipeline:: ring:: wait:: clock:: sync::
piece tsan.it env RUSTFLAGS=-Zsanitizer=thread RUST_TEST_THREADS=2 \
    cargo +nightly test -Zbuild-std --target "$host" --target-dir "$target/tsan" --test it -- emit::accounting states::waits observe::observers

# AddressSanitizer on the suite.
piece asan env RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 \
    cargo +nightly test --target "$host" --target-dir "$target/asan" --all-features --lib --test it

# Fuzz, each target for its share of the budget.
if any fuzz; then
    need fuzz
    for source in fuzz/fuzz_targets/*.rs; do
        name=$(basename "$source" .rs)
        piece "fuzz.$name" cargo +nightly fuzz run "$name" -- -max_total_time=$((budget * 3 / 4)) -rss_limit_mb=4096
    done
fi

# Kills of writers, pipelines, resumed runs, repairs; of the recorder.
piece kills.journal env JOURNAL_KILLS="${KILLS:-2000}" cargo test --release --all-features --test journal_kill
piece kills.recorder env RECORDER_KILLS="${KILLS:-2000}" cargo test --release --all-features --test recorder_kill
piece removals env JOURNAL_RUNS="${RUNS:-30000}" cargo test --release --all-features --test it journal::removed

# Mutants: what of the code no test would miss.
if any mutants; then
    need mutants
    for folder in paths dedup pipeline; do
        piece "mutants.$folder" cargo mutants --package panther-events --all-features --file "src/$folder/**" --file "src/$folder.rs" \
            --timeout 120 --output "$target/mutants-$folder" -- --lib --test it
    done
fi

if [[ ${#failed[@]} -gt 0 ]]; then
    printf '\nfailed: %s\n' "${failed[*]}"
    exit 1
fi
printf '\nno failure after %d s\n' "$SECONDS"
