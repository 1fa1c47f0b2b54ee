#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# million_test.sh: a list of a million blocks takes less than 5 s of processor time; one that is killed or interrupted
# leaves a map that is whole, and is finished by running it again.
source "$(dirname "$0")/../lib.sh"

seq 0 3 2999999 > "$work/list"
truncate -s 12G "$work/primary.img"
make_volume "$work/primary.img"
entries() { sqlite3 -readonly -cmd '.timeout 1000' "$map" 'SELECT count(*) FROM remaps' 2> /dev/null || echo 0; }
import=("$REMAPFS" import "$map" --format badblocks --block-size 4096 "$work/list")
# until_begun PID: some of it is in the map.
until_begun() {
  while [ "$(entries)" = 0 ]; do kill -0 "$1" || fail "ended before it began"; done
}

"${import[@]}" > "$work/out" &
until_begun $!
kill -KILL $!
wait $! 2> /dev/null && fail "was not killed"
left=$(entries)
echo "killed with $left entries"
[ "$left" -lt 1000000 ] || fail "all of it was there already"

"${import[@]}" > "$work/out" 2> "$work/err" &
while [ "$(entries)" = "$left" ]; do kill -0 $! || fail "did not go on"; done
kill -TERM $!
status=0
wait $! || status=$?
[ $status = 2 ] || fail "interrupted, and ended with $status"
grep -q '^remapfs: interrupted, .* (so far: [1-9][0-9]* blocks lost' "$work/err" || fail "said: $(cat "$work/err")"
[ "$(grep -c '^remapfs:' "$work/err")" = 1 ] || fail "said: $(cat "$work/err")"
echo "interrupted with $(entries) entries"
remapfs check "$map" > "$work/check" || fail "after an interruption: $(cat "$work/check")"

"${import[@]}" > "$work/out"
remapfs export "$map" --format badblocks "$work/exported"
cmp "$work/list" "$work/exported" || fail "not all of the list is there"
remapfs check "$map" > "$work/check" || fail "at the end: $(cat "$work/check")"

# What others do on the machine may slow one down, not three.
import_anew() {
  local before after
  rm -f "$map"* "$work/spare.img"
  make_volume "$work/primary.img"
  before=$(awk '{ print $16 + $17 }' /proc/$$/stat)
  "${import[@]}"
  after=$(awk '{ print $16 + $17 }' /proc/$$/stat)
  used=$(((after - before) * 1000 / $(getconf CLK_TCK)))
  echo "took $used ms of processor time"
  [ "$used" -lt 5000 ]
}
import_anew || import_anew || import_anew || fail "took too much processor time, three times"
cmp "$work/list" <(remapfs export "$map" --format badblocks) || fail "not all of the list is there"
