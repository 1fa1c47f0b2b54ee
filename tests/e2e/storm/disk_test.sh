#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# disk_test.sh: blocks of the whole disk die under fio on the loop device, which verifies every block; then again after
# a remount. Every block that died has moved.
. "$(dirname "$0")/lib.sh"
megabytes=$((soak == 1 ? 512 : 96))

make_faulty_disk "${megabytes}M"
make_volume "$disk"
attach
start_reader
verified_fio "$megabytes" 16
start_storm "$megabytes" "$total" "$((soak == 1 ? 2 : 0)).3"
"${job[@]}" "--randseed=$seed" > "$work/fio.log" 2>&1 || fail "fio in the storm: $(tail -n 5 "$work/fio.log")"
wait_for_storm
# The blocks that died after they were written.
"${job[@]}" "--randseed=$((seed + 1))" > "$work/fio.log" 2>&1 || fail "fio after the storm: $(tail -n 5 "$work/fio.log")"
moved=$(status_of remapped_blocks)
[ "$moved" -ge "$total" ] || fail "$moved blocks were moved, $total died"
[ "$(status_of lost_sectors)" = 0 ] || fail "sectors were lost"
check_commits 20 10
check_reader
detach
remapfs check "$map" > "$work/check.log" || fail "check: $(cat "$work/check.log")"
attach
"${job[@]}" "--randseed=$((seed + 1))" --verify_only > "$work/fio.log" 2>&1 || fail "fio after a remount: $(tail -n 5 "$work/fio.log")"
[ "$(status_of remapped_blocks)" -ge "$moved" ] || fail "blocks were forgotten"
detach
echo "$moved blocks moved, every block right"
