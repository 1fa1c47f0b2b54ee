#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# smoke_test.sh SOURCE_DIR BUILD_DIR: bench/run measures every contender in every workload, without an error, and reports.
set -euo pipefail
out=$(mktemp -d /tmp/remapfs-bench-smoke-XXXXXX)
trap 'rm -rf "$out"' EXIT
before=$(losetup --list --noheadings --output NAME | wc -l)
REMAPFS_BUILD_DIR=$2 "$1/bench/run" --smoke --dir "$out" --out "$out/results"

check() { # what must hold, jq program
  jq -e "$2" "$out/results/results.json" > /dev/null || { echo "FAILED: $1" && exit 1; }
}
check "five contenders in six workloads on the disk" '[.rows[] | select(.part == "path" and .place == "disk")] | length == 30'
check "two contenders in six workloads in memory" '[.rows[] | select(.part == "path" and .place == "memory")] | length == 12'
check "three shares in six workloads, with entries and without, at home, in the slots and put together" \
  '[.rows[] | select(.part == "remapped")] | length == 6 * (3 + 4 + 4)'
check "all requests in the slots are what they are compared with" '[.rows[] | select(.part == "remapped")
  | select(.place | contains("100 %")) | select(.contender | contains("slots") or contains("same")) | {question, iops: .values.iops | floor}]
  | group_by(.question) | all(.[]; length == 2 and .[0] == .[1])'
check "everything moved" '[.rows[] | select(.part == "path" or .part == "remapped")
  | select(.contender != "0 entries, same places") | .values]
  | all(.[]; .iops > 0 and .mib_per_s > 0 and .p50_us > 0 and .p999_us >= .p50_us and .cpu_us > 0)'
check "the table was asked" '[.rows[] | select(.part == "table")] | length > 50 and all(.[]; .values.ns > 0)'
check "instructions were counted" '[.rows[] | select(.part == "instructions")] | length > 0 and all(.[]; .values.instructions > 10)'
check "volumes were mounted" '[.rows[] | select(.part == "mount")] | length == 2 and all(.[]; .values.peak_kib > 1000)'
check "blocks were relocated" '[.rows[] | select(.part == "relocation")] | length == 2 and all(.[]; .values.iops > 0)'
check "the reference tests ran on both places, with four controls" '[.rows[] | select(.part == "reference")] | length == 26'
check "the machine is named" '.machine.cores > 0 and (.machine.kernel | startswith("Linux"))'
grep -q '^| virtual file / raw file, disk, 4 KiB, depth 32 | randread | >= 0.90 | [0-9]' "$out/results/RESULTS.md" ||
  { echo "FAILED: goals of RESULTS.md" && exit 1; }
for plot in path-disk path-memory table reference; do
  grep -q '</svg>' "$out/results/$plot.svg" || { echo "FAILED: plot $plot" && exit 1; }
done
[ "$(losetup --list --noheadings --output NAME | wc -l)" = "$before" ] || { echo "FAILED: loop devices left" && exit 1; }
