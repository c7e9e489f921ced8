#!/usr/bin/env bash
# Fuzzes every reader (or those named) for some seconds each, guided by coverage:
#     fuzz/run.sh [SECONDS [TARGET ...]]
# Bounds: 10 s and 2 GiB an input. What is found is put into fuzz/found/TARGET; a corpus grows in .runtime/fuzz, not here.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20}
shift || true
export CARGO_TARGET_DIR=$PWD/target/fuzz CARGO_INCREMENTAL=0
# Coverage as libFuzzer wants it, which needs no sanitizer and no nightly compiler.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags="$flags -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
RUSTFLAGS=$flags cargo build --locked --package pdloss-fuzz --features libfuzzer --bin fuzz --target x86_64-unknown-linux-gnu
binary=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/debug/fuzz
[ $# -gt 0 ] || set -- $(ls fuzz/corpus)
failed=0
for target in "$@"; do
    mkdir -p ".runtime/fuzz/$target" "fuzz/found/$target"
    log=.runtime/fuzz/$target.log
    if PDLOSS_FUZZ_TARGET=$target "$binary" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="fuzz/found/$target/" ".runtime/fuzz/$target" "fuzz/corpus/$target" >"$log" 2>&1; then
        printf '%-24s %10s inputs\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    else
        printf '%-24s FAILED\n' "$target"
        tail -n 25 "$log"
        failed=1
    fi
done
find fuzz/found -type d -empty -delete 2>/dev/null || true
exit $failed
