#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vanishing_test.sh: the disk is pulled and put back, over and over, under fio on the loop device that verifies what it
# wrote, in the middle of a storm. Who waits for the disk sees no error, no byte is wrong, and a sync tells of writes that
# the disk may have forgotten.
. "$(dirname "$0")/lib.sh"
load=
# Without the disk nothing can be taken down.
first_clean_up() {
  faulty_disk gone "$work/failing" off
  remapfs resume "$map"
  [ -z "$load" ] || kill "$load"
} > /dev/null 2>&1
megabytes=96
times=$((soak == 1 ? 20 : 4))

make_faulty_disk "${megabytes}M"
make_volume "$disk"
remapfs mount "$map" "$work/volume" -o on-loss=wait
attach
verified_fio "$megabytes" 8
start_storm "$megabytes" $((total / 10)) 0.3
told=0
for ((i = 0; i < times; ++i)); do
  "${job[@]}" "--randseed=$((seed + i))" > "$work/fio.log" 2>&1 &
  load=$!
  sleep 0.7
  faulty_disk gone "$work/failing" on
  sleep 0.5
  kill -0 "$load" 2> /dev/null || fail "fio ended before the disk was pulled"
  [ "$(status_of state)" = suspended ] || fail "without the disk the state is $(status_of state)"
  if remapfs detach "$map" 2> "$work/detach.log"; then fail "detached while requests wait"; fi
  grep -q "waits for a device" "$work/detach.log" || fail "detach: $(cat "$work/detach.log")"
  faulty_disk gone "$work/failing" off
  remapfs resume "$map" > /dev/null
  wait "$load" || fail "fio, while the disk was pulled: $(tail -n 5 "$work/fio.log")"
  sync "$loop" 2> /dev/null || told=$((told + 1))
  sync "$loop" || fail "the second sync failed too"
done
wait_for_storm
"${job[@]}" "--randseed=$((seed + i))" > "$work/fio.log" 2>&1 || fail "fio after all: $(tail -n 5 "$work/fio.log")"
detach
attach
"${job[@]}" "--randseed=$((seed + i))" --verify_only > "$work/fio.log" 2>&1 || fail "fio after a remount: $(tail -n 5 "$work/fio.log")"
detach
[ "$told" = "$times" ] || fail "the disk was pulled $times times with writes that no sync had stored, $told syncs told of it"
echo "pulled $times times, every byte right, each time the next sync told of it"
