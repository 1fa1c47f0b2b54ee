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
check "five contenders in five workloads on the disk" '[.path[] | select(.place == "disk")] | length == 25'
check "three shares in two workloads, remapped" '[.path[] | select(.place == "remapped")] | length == 6'
check "everything moved" 'all(.path[]; .iops > 0 and .mib_per_s > 0 and .p50_us > 0 and .p999_us >= .p50_us)'
check "the table was asked" '.table | length > 10 and all(.[]; .ns > 0)'
check "the machine is named" '.machine.cores > 0 and (.machine.kernel | startswith("Linux"))'
[ "$(grep -c '^| virtual' "$out/results/RESULTS.md")" = 5 ] || { echo "FAILED: rows of RESULTS.md" && exit 1; }
tail -n 1 "$out/results/path-disk.svg" | grep -q '</svg>' || { echo "FAILED: plot" && exit 1; }
[ "$(losetup --list --noheadings --output NAME | wc -l)" = "$before" ] || { echo "FAILED: loop devices left" && exit 1; }
