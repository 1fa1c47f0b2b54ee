#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vanishing_test.sh primary|spare|both: a disk is pulled and put back, over and over, under fio on the loop device that
# verifies what it wrote, in the middle of a storm: the one with the data, the one that blocks move to, or one that is both.
# Who waits for the disk sees no error, no byte is wrong, and a sync tells of writes that the disk may have forgotten. (A spare
# is synced by every commit: it may have nothing to forget.)
. "$(dirname "$0")/lib.sh"
kind=$1
load=
pulled=$work/failing
# Without the disk nothing can be taken down.
first_clean_up() {
  faulty_disk gone "$pulled" off
  remapfs resume "$map"
  [ -z "$load" ] || kill "$load"
} > /dev/null 2>&1
extra_clean_up() {
  end_storm
  if mountpoint -q "$work/spare"; then faulty_disk unmount "$work/spare"; fi
}
megabytes=96
times=$((soak == 1 ? 20 : 4))

case $kind in
  primary)
    make_faulty_disk "${megabytes}M"
    make_volume "$disk"
    ;;
  spare)
    make_faulty_disk "${megabytes}M"
    mkdir "$work/spare"
    truncate -s "$spare_size" "$work/spare-platter.img"
    faulty_disk mount "$work/spare-platter.img" "$work/spare"
    pulled=$work/spare
    remapfs create "$map" --primary "$disk" --spare "$work/spare/disk" > /dev/null
    ;;
  both)
    make_faulty_disk "$((megabytes + ${spare_size%M}))M"
    remapfs create "$map" --primary "$disk" --reserve "$spare_size" > /dev/null
    ;;
esac
remapfs mount "$map" "$work/volume" -o on-loss=wait
attach
verified_fio "$megabytes" 8
start_storm "$megabytes" $((total / 2)) 0.3
told=0
for ((i = 0; i < times; ++i)); do
  # So slow that it is not over before it wants something of the disk.
  "${job[@]}" --rate_iops=10000 "--randseed=$((seed + i))" > "$work/fio.log" 2>&1 &
  load=$!
  sleep 0.7
  faulty_disk gone "$pulled" on
  sleep 0.5
  kill -0 "$load" 2> /dev/null || fail "fio ended before the disk was pulled"
  # When a sync was the first to fail, that is the worse news.
  await '[[ "$(status_of state)" =~ ^(suspended|failed)$ ]]' 5
  if remapfs detach "$map" 2> "$work/detach.log"; then fail "detached while requests wait"; fi
  grep -q "waits for a device" "$work/detach.log" || fail "detach: $(cat "$work/detach.log")"
  faulty_disk gone "$pulled" off
  remapfs resume "$map" > /dev/null
  wait "$load" || fail "fio, while the disk was pulled: $(tail -n 5 "$work/fio.log")"
  sync "$loop" 2> /dev/null || told=$((told + 1))
  sync "$loop" || fail "the second sync failed too"
done
wait_for_storm
"${job[@]}" "--randseed=$((seed + i))" > "$work/fio.log" 2>&1 || fail "fio after all: $(tail -n 5 "$work/fio.log")"
unfinished=$(remapfs events "$map" -J | jq -s '[.[] | (.events // [.])[] | select(.kind == "commit-unfinished")] | length')
detach
remapfs check "$map" > "$work/check.log" || fail "check: $(cat "$work/check.log")"
attach
"${job[@]}" "--randseed=$((seed + i))" --verify_only > "$work/fio.log" 2>&1 || fail "fio after a remount: $(tail -n 5 "$work/fio.log")"
detach
[ "$told" = "$times" ] || [ "$kind" = spare ] || fail "the disk was pulled $times times with writes that no sync had stored, $told syncs told of it"
echo "pulled $times times, $unfinished of them in the end of a commit, every byte right, $told times the next sync told of losses"
