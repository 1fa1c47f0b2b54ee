#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# screen_test.sh SOURCE_DIR: status --watch on a terminal draws the whole screen, says what goes on, and gives the
# terminal back however it ends; elsewhere it prints lines, with -J one object a line.
source "$(dirname "$0")/../lib.sh"
conforms() { python3 "$(dirname "$0")/../exchange/validate.py" "$1/docs/schema/status.schema.json"; }

make_faulty_disk 64M
make_volume "$disk"
remapfs mount "$map" "$work/volume"
faulty_disk set "$work/failing" sectors=800-807,op=read > /dev/null
# A block of bad sectors, and requests to be counted, while somebody looks.
use_disk() {
  sleep 1
  dd if="$work/volume/disk" of=/dev/null bs=4k count=1 skip=100 iflag=direct 2> /dev/null && fail "a bad sector was read"
  dd if="$work/volume/disk" of=/dev/null bs=4k count=50 iflag=direct status=none
  dd if=/dev/zero of="$work/volume/disk" bs=4k count=20 conv=notrunc,fsync oflag=direct status=none
}

enter=$'\e[?1049h'
# on_screen SECONDS KEYS COMMAND...: on a terminal of 100 x 40; keys are typed so many seconds after the screen was taken.
# What is shown goes to $work/screen. The shell is bash, for others end by the Ctrl-C that their child took.
on_screen() {
  local seconds=$1 keys=$2
  shift 2
  : > "$work/screen"
  (
    for _ in $(seq 100); do
      if grep -qaF "$enter" "$work/screen"; then break; fi
      sleep 0.1
    done
    sleep "$seconds"
    printf "%b" "$keys"
    sleep 1
  ) | SHELL=$BASH timeout 40 script -qec "stty rows 40 cols 100; $*; echo ended with \$?; stty -a | grep -o ' icanon'" /dev/null > "$work/screen" ||
    fail "no screen of $*: $?"
}
leave=$'\e[?1049l'
shows() { grep -qaE "$1" "$work/screen" || fail "not on the screen: $1: $(tr -d '\r' < "$work/screen" | tail -n 45)"; }

use_disk &
on_screen 6 q "'$REMAPFS' status --watch '$map'"
wait $!
shows 'State +.*degraded'
shows '8 sectors lost, of 64M'
shows '  read +[1-9][0-9]* +[0-9.]+ [um]s'
shows '  flush +[0-9]+ +[0-9.]+ [um]s'
shows '  primary +[1-9][0-9]* +0 +0 +0 +[1-9][0-9]* +.*/disk'
shows 'lost, block 100'
grep -qaF "$enter" "$work/screen" || fail "did not take the other page of the terminal"
[ "$(tail -n 3 "$work/screen" | grep -acF "$leave")" = 1 ] || fail "did not give the terminal back"
shows 'ended with 0'
shows ' icanon'
# Drawn more than once, and never by clearing the screen.
[ "$(grep -aoF $'\e[H' "$work/screen" | wc -l)" -ge 3 ] || fail "not drawn again"
if grep -qaF $'\e[2J' "$work/screen"; then fail "flickers"; fi

# Ctrl-C, and a signal from outside.
on_screen 1 '\003' "'$REMAPFS' status --watch '$map'"
shows 'ended with 0'
(sleep 3 && pkill -TERM -f "^$REMAPFS status --watch $map\$") &
on_screen 6 '' "'$REMAPFS' status --watch '$map'"
shows 'ended with 0'
shows ' icanon'
grep -qaF "$leave" "$work/screen" || fail "SIGTERM leaves the terminal as it was on the screen"

# The volume goes away and comes back while somebody looks.
(sleep 1 && remapfs unmount "$map" && sleep 3 && remapfs mount "$map" "$work/volume") &
on_screen 8 q "'$REMAPFS' status --watch '$map'"
wait $!
shows 'Mounted +no'
shows 'ended with 0'

# What cannot be looked at at all is an error like any.
on_screen 0 '' "'$REMAPFS' status --watch '$work/nothing'"
shows 'remapfs: cannot find it'
shows 'ended with 2'
if grep -qaF "$enter" "$work/screen"; then fail "took the screen for an error"; fi

# Not a terminal.
(timeout 30 "$REMAPFS" status --watch "$map" || true) | sed '/^Volume:/{x;s/^/x/;/^xx$/q;x}' > "$work/lines"
if grep -qaF $'\e' "$work/lines"; then fail "control characters in lines"; fi
[ "$(grep -c '^State:' "$work/lines")" = 1 ] || fail "lines: $(cat "$work/lines")"
(timeout 30 "$REMAPFS" status --watch -J "$map" || true) | head -n 2 > "$work/lines"
[ "$(wc -l < "$work/lines")" = 2 ] || fail "objects: $(cat "$work/lines")"
head -n 1 "$work/lines" | conforms "$1"
jq -es '.[1].latency | has("read")' "$work/lines" > /dev/null || fail "no latencies"
