#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# disk_test.sh SOURCE_DIR: a scrub finds every bad sector and moves every weak block, of a mounted volume and of one that
# is not; it goes on after a kill, an unmount and Ctrl-C; verified writes beside it see nothing; its words and JSON.
source "$(dirname "$0")/../lib.sh"
schemas=$1/docs/schema
conforms() { python3 "$(dirname "$0")/../exchange/validate.py" "$schemas/$1.schema.json"; }
megabytes=192
blocks=$((megabytes * 256))
scrub_of() { remapfs scrub "$map" status -J | jq -r ".scrub.$1"; }

make_faulty_disk ${megabytes}M
head -c ${megabytes}M /dev/urandom > "$work/platter.img"
cp "$work/platter.img" "$work/before.img"
make_volume "$disk"

# Prints the sectors that cannot be read, and fails on bytes that are not those of the beginning. A long read is more than
# one request where the buffer does not begin with a page: one that meets a bad sector in a later request ends before it.
cat > "$work/compare.py" << 'END'
import os, sys
disk, before = os.open(sys.argv[1], os.O_RDONLY), open(sys.argv[2], "rb")
size = os.lseek(disk, 0, os.SEEK_END)
for at in range(0, size, 1 << 20):
    want = before.read(1 << 20)
    try:
        got = os.pread(disk, 1 << 20, at)
        if got != want[:len(got)]:
            sys.exit(f"other bytes in the megabyte at {at}")
        if len(got) == len(want):
            continue
    except OSError:
        pass
    for sector in range(at // 512, (at + len(want)) // 512):
        try:
            if os.pread(disk, 512, sector * 512) != want[sector * 512 - at:][:512]:
                sys.exit(f"other bytes in sector {sector}")
        except OSError:
            print(sector)
END

# A good disk: nothing is found and nothing written.
remapfs mount "$map" "$work/volume"
[ "$(scrub_of state)" = never ] || fail "scrubbed already"
[ "$(remapfs scrub "$map" status)" = 'Scrub:     never' ] || fail "words of a scrub that never was"
remapfs scrub "$map" > "$work/words" || fail "scrub of a good disk"
grep -q '^Scrub: *finished' "$work/words" && grep -q '^Done: *100 %, 192M of 192M$' "$work/words" || fail "$(cat "$work/words")"
[ "$(status_of remapped_blocks)" = 0 ] && [ "$(status_of lost_sectors)" = 0 ] || fail "found something on a good disk"
cmp "$work/platter.img" "$work/before.img" || fail "a scrub wrote to a good disk"

# 40 bad sectors, and 15 that come back after three failures: the long access, the block, its sector. Not where probes
# may have read already.
faulty_disk set "$work/failing" "count=40,seed=$seed,op=read" > /dev/null
for i in $(seq 15); do echo "sectors=$((i * blocks * 8 / 16 + 2403)),op=read,mode=times:3"; done > "$work/weak"
mapfile -t weak < "$work/weak"
faulty_disk set "$work/failing" "${weak[@]}" > /dev/null
# The scrub is held up so that there is time to kill its worker, unmount and mount.
remapfs scrub "$map" start --rate 32M/s > /dev/null
await '[ "$(scrub_of bytes_done)" -gt 0 ]'
status_of worker_pid > "$work/worker"
kill -9 "$(cat "$work/worker")"
await 'worker=$(status_of worker_pid 2> /dev/null) && [ -n "$worker" ] && [ "$worker" != "$(cat "$work/worker")" ]'
[ "$(scrub_of state)" = running ] || fail "does not go on after a kill: $(scrub_of state)"
await '[ "$(scrub_of bytes_done)" -gt 33554432 ]'
remapfs scrub "$map" pause > /dev/null
[ "$(scrub_of state)" = paused ] || fail "not paused"
reached=$(scrub_of next_block)
remapfs scrub "$map" resume > /dev/null
remapfs unmount "$map"
[ "$(scrub_of next_block)" -ge "$reached" ] || fail "the map forgot how far it was"
remapfs mount "$map" "$work/volume"
[ "$(scrub_of state)" = running ] && [ "$(scrub_of next_block)" -ge "$reached" ] || fail "begins again after a remount"
remapfs scrub "$map" --rate 0 -J > "$work/result.json" || fail "scrub to the end"
conforms scrub < "$work/result.json"
remapfs status "$map" -J | conforms status
jq -e '.scrub | .state == "finished" and .seconds_left == null and .bytes_done == .bytes_total' "$work/result.json" > /dev/null ||
  fail "$(cat "$work/result.json")"
bad=40
[ "$(status_of lost_sectors)" = "$bad" ] || fail "$(status_of lost_sectors) of $bad bad sectors were found"
remapped=$(status_of remapped_blocks)
[ "$remapped" -ge 14 ] && [ "$remapped" -le 15 ] || fail "$remapped of 15 weak blocks moved"
python3 "$work/compare.py" "$work/volume/disk" "$work/before.img" > "$work/unreadable" || fail "contents"
[ "$(wc -l < "$work/unreadable")" = "$bad" ] || fail "$(wc -l < "$work/unreadable") sectors cannot be read"
await 'remapfs events "$map" > "$work/events" && tail -n 1 "$work/events" | grep -q scrub-finished'

# Requests beside it: verified writes, while scrub follows scrub.
(while [ ! -e "$work/enough" ]; do remapfs scrub "$map" > /dev/null; done) &
scrubbing=$!
(cd "$work" && timeout 120 fio --name=beside --filename="$work/volume/disk" --rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio \
  --direct=1 --size=64m --offset=64m --verify=crc32c --verify_fatal=1 --time_based --runtime=5 --output="$work/fio.log") ||
  fail "verified writes beside a scrub: $(tail -n 5 "$work/fio.log")"
touch "$work/enough"
wait $scrubbing

# Ctrl-C ends the watching, not the scrub.
remapfs scrub "$map" start --rate 8M > /dev/null
# A shell's background commands ignore it otherwise.
env --default-signal=INT "$REMAPFS" scrub "$map" 2> "$work/watch.err" > /dev/null &
watcher=$!
sleep 1
kill -INT $watcher
wait $watcher || fail "Ctrl-C of a watcher"
grep -q 'goes on in the background' "$work/watch.err" || fail "$(cat "$work/watch.err")"
[ "$(scrub_of state)" = running ] || fail "the watcher took the scrub with it"
# A terminal shows a bar; the rate is what was asked for.
timeout 3 script -qec "'$REMAPFS' scrub '$map'" /dev/null > "$work/screen" < /dev/null || true
grep -q 'scrubbing \[#*-*\] *[0-9]* % .* of 192M, [0-9.]*M/s, .* left' "$work/screen" || fail "no bar: $(head -c 300 "$work/screen")"
remapfs scrub "$map" stop > /dev/null
[ "$(scrub_of state)" = stopped ] || fail "not stopped"
remapfs scrub "$map" stop > /dev/null 2> "$work/again" && grep -q 'already' "$work/again" || fail "stop twice"
remapfs unmount "$map"

# Not mounted: it runs here, Ctrl-C pauses it, and the next one goes on.
env --default-signal=INT "$REMAPFS" scrub "$map" --rate 32M 2> "$work/here.err" > /dev/null &
here=$!
sleep 1.5
kill -INT $here
if wait $here; then fail "an interrupted scrub says that it is done"; fi
grep -q 'interrupted, [0-9]* % is done' "$work/here.err" || fail "$(cat "$work/here.err")"
[ "$(scrub_of state)" = paused ] && [ "$(scrub_of bytes_done)" -gt 16777216 ] || fail "not kept: $(scrub_of bytes_done)"
begun=$(scrub_of started_at)
remapfs scrub "$map" --rate 0 > "$work/words" || fail "scrub here"
[ "$(scrub_of state)" = finished ] && [ "$(scrub_of started_at)" = "$begun" ] || fail "did not go on with the old one"
if remapfs scrub "$map" start 2> "$work/start.err"; then fail "start without a mount"; fi
grep -q 'not mounted' "$work/start.err" || fail "$(cat "$work/start.err")"
remapfs check "$map" > /dev/null || fail "check"

# Nothing is written to a read-only volume.
remapfs mount "$map" "$work/volume" -o ro
if remapfs scrub "$map" 2> "$work/ro.err"; then fail "scrub of a read-only volume"; fi
grep -q 'read-only' "$work/ro.err" || fail "$(cat "$work/ro.err")"
remapfs unmount "$map"
