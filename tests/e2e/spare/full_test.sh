#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# full_test.sh: blocks die in waves under a load until the spare is full, in the middle of the storm. What cannot be
# moved is refused, the load goes on, and a spare that is added meanwhile ends the refusals. Nothing acknowledged is
# lost: every sector is compared with what was acknowledged, then and after a remount. The warning came before.
source "$(dirname "$0")/../storm/lib.sh"
megabytes=$((soak == 1 ? 512 : 128))
spare_size=$((soak == 1 ? 16 : 4))M
some=$((megabytes * 16)) # writes, about half as many sectors as the disk has
journal=$work/journal
acknowledged() { timeout 300 python3 "$(dirname "$0")/acknowledged.py" "$1" "$loop" "$journal"; }
load=
first_clean_up() { [ -z "$load" ] || { kill "$load" && wait "$load"; } 2> /dev/null; }
# stored_since PATTERN: how many writes were stored after the first line of the journal that awk's PATTERN is true of.
stored_since() { awk "$1 { since = 1 } since && /stored/ { ++count } END { print count + 0 }" "$journal"; }
is_full() { grep -q refused "$journal" && [ "$(status_of spare.slots_free)" = 0 ]; }
has_gone_on_full() {
  [ "$(stored_since /refused/)" -ge "$some" ] && [ "$(grep -c refused "$journal")" -ge "$megabytes" ]
}
has_gone_on_after() { [ "$(stored_since "\$1 > $added")" -ge "$some" ]; }
# compare_all WHEN: the whole disk. What cannot be read was refused, and the status knows of it.
compare_all() {
  acknowledged compare > "$work/compared" 2> "$work/differs" || fail "$1: $(cat "$work/differs")"
  [ "$(jq .unreadable "$work/compared")" = "$(status_of lost_sectors)" ] ||
    fail "$1: $(status_of lost_sectors) sectors are lost, $(cat "$work/compared")"
}

make_faulty_disk "${megabytes}M"
make_volume "$disk"
slots=$(status_of spare.slots_total)
attach
start_reader
acknowledged fill || fail "a good disk"
start_storm "$megabytes" "$total" "$((soak == 1 ? 3 : 0)).7"
python3 "$(dirname "$0")/acknowledged.py" load "$loop" "$journal" "$seed" 2> "$work/load.log" &
load=$!
await is_full 120
await has_gone_on_full 60
kill -0 "$load" 2> /dev/null || fail "the load ended with a full spare: $(cat "$work/load.log")"
kill -0 "$weather" 2> /dev/null || fail "the storm was over before the spare had been full for a while"
[ "$(status_of state)" = degraded ] || fail "state $(status_of state)"
remapfs events "$map" > "$work/events"
grep -q 'spare-low .* [1-9][0-9]* of [0-9]* slots are free: add a spare' "$work/events" || fail "no warning before"
before=$(status_of remapped_blocks)
# One more, without a pause: from then on nothing is refused.
remapfs spare "$map" add "$work/more.img" --size 160M
added=$(date +%s.%N)
# In the second half of the disk only, so that what was acknowledged before stays to be compared in the first.
kill -USR1 "$load"
wait_for_storm
await has_gone_on_after 60
kill "$load"
wait "$load" || fail "the load: $(cat "$work/load.log")"
load=
refused=$(awk -v added="$added" '/refused/ && $1 > added' "$journal" | wc -l)
[ "$refused" = 0 ] || fail "$refused writes were refused after a spare was added"
check_reader
compare_all "after the storm"
compared=$(cat "$work/compared")
jq -e '[.stored_before_refusals, .stored_between, .stored_after, .refused_since] | min >= 1000' "$work/compared" \
  > /dev/null || fail "hardly anything to compare: $compared"
remapped=$(status_of remapped_blocks)
if [ "$before" -lt "$slots" ] || [ "$remapped" -le "$before" ]; then
  fail "$remapped blocks moved, $before of them before one more spare came, which had $slots slots"
fi
# What was found to be weak while there was no slot for it has one now.
remapfs scrub "$map" > /dev/null || fail "scrub"
[ "$(status_of state)" = healthy ] || fail "state $(status_of state): $(status_of reasons)"
# The loop device remembers the writes that were refused, and tells them to whoever takes it down.
if remapfs detach "$map" 2> "$work/detach.log"; then fail "detach forgot the writes that were refused"; fi
grep -q 'what was written last is not stored' "$work/detach.log" || fail "$(cat "$work/detach.log")"
remapfs check "$map" > /dev/null || fail "check"
attach
compare_all "after a remount"
detach
remapfs check "$map" > /dev/null || fail "check after a remount"
echo "$(grep -c stored "$journal") writes stored, $(grep -c refused "$journal") refused; $remapped blocks moved," \
  "$before of them before one more spare came; sectors: $compared"
