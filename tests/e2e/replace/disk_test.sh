#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# disk_test.sh SOURCE_DIR: the primary is replaced under a verified load, through kills of who copies, a disk that fails on
# the way and one that is pulled afterwards; and once more while nothing is mounted. What must be refused is.
source "$(dirname "$0")/../lib.sh"
schemas=$1/docs/schema
conforms() { python3 "$(dirname "$0")/../exchange/validate.py" "$schemas/$1.schema.json"; }
replacement() { remapfs replace "$map" --status -J | jq -r ".replacement$1"; }
primary() { status_of 'devices[0].path'; }
# same_as_before FILE: all but the first 8 MiB, which the load has, and the lost sectors, whose block is 5000.
same_as_before() {
  cmp -i 8M -n $((5000 * 4096 - 8 * 1024 * 1024)) "$1" "$work/before.img" && cmp -i $((5001 * 4096)) "$1" "$work/before.img" ||
    fail "other bytes: $2"
}

# What can be read of the disk, in $work/read.img; zeros in place of the rest, the block with the lost sectors.
read_all() {
  dd if="$work/volume/disk" of="$work/read.img" bs=4k conv=noerror,sync iflag=direct status=noxfer 2> "$work/dd.log"
  grep -q 'Input/output error' "$work/dd.log" || fail "a lost sector was read"
}

make_faulty_disk 64M
head -c 64M /dev/urandom > "$work/before.img"
dd if="$work/before.img" of="$disk" bs=1M conv=notrunc,fsync status=none
spare_size=8M
make_volume "$disk"
remapfs add "$map" 3000-3099 > /dev/null
attach

# What must not be.
truncate -s 16M "$work/small.img"
truncate -s 80M "$work/ext4.img" && mkfs.ext4 -q "$work/ext4.img"
truncate -s 80M "$work/new.img"
remapfs create "$work/other.map" --primary "$work/small.img" --spare "$work/other.spare" --spare-size 70M > /dev/null
refused "nothing there" "fallocate -l 67108864" remapfs replace "$map" "$work/nothing.img"
refused "too small" "too small" remapfs replace "$map" "$work/small.img"
refused "a file system" "ext4" remapfs replace "$map" "$work/ext4.img"
refused "a spare of another volume" "is a spare of volume" remapfs replace "$map" "$work/other.spare"
refused "the primary" "share the same bytes" remapfs replace "$map" "$disk" --force
refused "the spare" "share the same bytes" remapfs replace "$map" "$work/spare.img" --force
refused "its own disk" "volume's own disk" remapfs replace "$map" "$work/volume/disk" --force
refused "its own loop device" "volume's own disk" remapfs replace "$map" "$loop" --force
[ "$(replacement '')" = null ] || fail "a replacement is under way: $(replacement '')"

# Stopped.
remapfs replace "$map" "$work/new.img" --rate 1M > /dev/null 2> "$work/replace.log" &
follower=$!
for _ in $(seq 100); do
  [ "$(replacement .state 2> /dev/null)" = copying ] && break
  sleep 0.1
done
remapfs replace "$map" --status -J | conforms replace
remapfs status "$map" -J | conforms status
refused "another one beside it" "in use" remapfs replace "$map" "$work/new.img"
refused "an upgrade" "being replaced" remapfs upgrade "$map"
remapfs replace "$map" --stop | grep -q 'stopped' || fail "words of --stop"
if wait $follower; then fail "a copy that was stopped is no success"; fi
grep -q 'not replaced, the copy was stopped' "$work/replace.log" || fail "of a stopped one: $(cat "$work/replace.log")"
[ "$(primary)" = "$disk" ] || fail "another primary after --stop"

# A load that verifies what it reads; who copies is killed; the disk has sectors that cannot be read.
(cd "$work" && timeout 200 fio --name=load --filename="$loop" --rw=randrw --bs=4k --iodepth=8 --ioengine=libaio --direct=1 \
  --size=8m --verify=crc32c --verify_fatal=1 --time_based --runtime=15 --output="$work/fio.log") &
load=$!
faulty_disk set "$work/failing" sectors=40000-40003,op=read > /dev/null
remapfs replace "$map" "$work/new.img" --rate 8M > /dev/null 2> "$work/replace.log" &
follower=$!
sleep 2
kill -9 "$(status_of worker_pid)"
if wait $follower; then fail "a copy whose process was killed is no success"; fi
grep -q 'the copy was interrupted' "$work/replace.log" || fail "of an interrupted one: $(cat "$work/replace.log")"
[ "$(primary)" = "$disk" ] || fail "another primary after a kill"
remapfs replace "$map" "$work/new.img" > "$work/words" 2> /dev/null || fail "replace under load"
grep -qx "$work/new.img is the primary now, $disk can be taken away" "$work/words" || fail "words: $(cat "$work/words")"
grep -qx '100 blocks came back to it from the spares' "$work/words" || fail "words: $(cat "$work/words")"
[ "$(primary)" = "$work/new.img" ] || fail "the primary is $(primary)"
remapfs replace "$map" --status -J | conforms replace
# The old one is pulled, under the load.
faulty_disk gone "$work/failing" on > /dev/null
wait $load || fail "verified load: $(tail -n 5 "$work/fio.log")"
[ "$(status_of remapped_blocks) $(status_of lost_sectors) $(status_of state)" = "0 4 degraded" ] || fail "state: $(remapfs status "$map")"
echo 3 > /proc/sys/vm/drop_caches
read_all
same_as_before "$work/read.img" "with the new disk alone"
# The block's other sectors were copied, and what the new disk has in place of the lost ones is nobody's data.
cmp -i $((40004 * 512)) -n 2048 "$work/volume/disk" "$work/before.img" || fail "neighbours of lost sectors"
remapfs retest "$map" 5000 | grep -q 'still cannot be read' || fail "a retest took the new disk's bytes for data"
dd if="$work/volume/disk" of=/dev/null bs=512 count=1 skip=40001 iflag=direct 2> /dev/null && fail "a lost sector was read"
[ "$(sqlite3 -readonly "$map" 'SELECT cause FROM remaps')" = replaced ] || fail "rows: $(remapfs list "$map")"

# A kill after it, and a remount: it is the primary for all.
kill -9 "$(status_of worker_pid)"
cmp -i 8M -n 8M "$work/volume/disk" "$work/before.img" || fail "after a kill"
[ "$(primary)" = "$work/new.img" ] || fail "after a kill the primary is $(primary)"
detach
faulty_disk unmount "$work/failing"
remapfs check "$map" > /dev/null || fail "check"

# Not mounted.
truncate -s 64M "$work/third.img"
remapfs replace "$map" "$work/third.img" > "$work/words" || fail "not mounted"
grep -q 'third.img is the primary now' "$work/words" || fail "words, not mounted: $(cat "$work/words")"
rm "$work/new.img"
attach
read_all
same_as_before "$work/read.img" "after the third disk"
# Written, the lost sectors are sound.
dd if="$work/before.img" of="$work/volume/disk" bs=4k skip=5000 seek=5000 count=1 conv=notrunc,fsync oflag=direct status=none
[ "$(status_of state)" = healthy ] || fail "state: $(remapfs status "$map")"
# In the end the map can be done without: the disk is whole by itself.
remapfs remove "$map" 5000 > /dev/null
[ "$(status_of remapped_blocks)" = 0 ] || fail "rows: $(remapfs list "$map")"
detach
cmp -i 8M "$work/third.img" "$work/before.img" || fail "the new disk alone"
