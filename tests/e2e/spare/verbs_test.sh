#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# verbs_test.sh SOURCE_DIR: spares join and leave a volume, mounted or not, under a verified load, kills and an upgrade;
# what must be refused leaves nothing behind.
source "$(dirname "$0")/../lib.sh"
schemas=$1/docs/schema
conforms() { python3 "$(dirname "$0")/../exchange/validate.py" "$schemas/$1.schema.json"; }
spares() { remapfs spare "$map" list -J | jq -r "[.spares[] | $1] | join(\" \")"; }
same_as_before() { cmp "$1" "$work/before.img" || fail "contents: $2"; }

head -c 64M /dev/urandom > "$work/primary.img"
cp "$work/primary.img" "$work/before.img"
spare_size=6M
make_volume "$work/primary.img"

# Not mounted.
remapfs add "$map" 0-199 > /dev/null
remapfs spare "$map" add "$work/second.img" --size 8M | grep -qx "spare 2, $work/second.img: [0-9]* slots ([0-9.]*M)" ||
  fail "words of add"
[ "$(spares .id)" = "1 2" ] || fail "$(spares .id)"
remapfs spare "$map" list -J | conforms spare
remapfs spare "$map" retire 1 | grep -q '^spare 1 has left the volume, 200 blocks moved; .* can be taken away$' || fail "words of retire"
rm "$work/spare.img"
remapfs check "$map" > /dev/null || fail "check after the first one left"

# What must not be.
remapfs mount "$map" "$work/volume"
same_as_before "$work/volume/disk" "after the first one left"
truncate -s 16M "$work/mkfs.img" && mkfs.ext4 -q "$work/mkfs.img"
remapfs create "$work/other.map" --primary "$work/mkfs.img" --spare "$work/other.img" --spare-size 4M > /dev/null
before=$(spares .id)
refused "a file system" 'ext4' remapfs spare "$map" add "$work/mkfs.img"
refused "a spare of another volume" 'belongs to another volume' remapfs spare "$map" add "$work/other.img"
refused "the primary" 'same' remapfs spare "$map" add "$work/primary.img" --force
refused "a spare twice" '' remapfs spare "$map" add "$work/second.img" --force
refused "its own disk" "volume's own disk" remapfs spare "$map" add "$work/volume/disk" --force
refused "nothing there" 'use --size to make it' remapfs spare "$map" add "$work/nothing.img"
refused "too small" 'too small' remapfs spare "$map" add "$work/tiny.img" --size 64K
refused "no room on the disk" 'cannot make the spare' remapfs spare "$map" add "$work/huge.img" --size 1000T
refused "no such spare" 'no spare 7' remapfs spare "$map" retire 7
refused "the only one" 'add a spare first' remapfs spare "$map" retire 2
[ ! -e "$work/tiny.img" ] && [ ! -e "$work/huge.img" ] || fail "a refused spare was left behind"
[ "$(spares .id)" = "$before" ] || fail "a refused spare is there: $(spares .id)"
remapfs check "$work/other.map" > /dev/null || fail "the other volume was touched"

# Mounted: a number is never used twice; an existing file is used whole; --force takes one with a file system.
remapfs spare "$map" add "$work/mkfs.img" --force > /dev/null
[ "$(spares .id)" = "2 3" ] || fail "$(spares .id)"
# The one that serves knows it, and the next one, and a new program.
remapfs spare "$map" retire 2 > /dev/null
status_of worker_pid > "$work/worker"
kill -9 "$(cat "$work/worker")"
for _ in $(seq 100); do
  worker=$(status_of worker_pid 2> /dev/null) && [ -n "$worker" ] && [ "$worker" != "$(cat "$work/worker")" ] && break
  sleep 0.1
done
[ "$(spares .id)" = 3 ] || fail "after a kill: $(spares .id)"
remapfs upgrade "$map" > /dev/null
[ "$(spares .id)" = 3 ] || fail "after an upgrade: $(spares .id)"
same_as_before "$work/volume/disk" "after kill and upgrade"
remapfs status "$map" -J | conforms status

# Under a verified load on the loop device, again and again; never on what stands on it.
attach
refused "its own loop device" "volume's own disk" remapfs spare "$map" add "$loop" --force
(cd "$work" && timeout 200 fio --name=load --filename="$loop" --rw=randrw --bs=4k --iodepth=8 --ioengine=libaio --direct=1 \
  --size=2m --verify=crc32c --verify_fatal=1 --time_based --runtime=12 --output="$work/fio.log") &
load=$!
rounds=0
while kill -0 $load 2> /dev/null; do
  last=$(spares .id | tr ' ' '\n' | tail -n 1)
  remapfs spare "$map" add "$work/round.$rounds.img" --size 6M > /dev/null || fail "add under load"
  remapfs spare "$map" retire "$last" > /dev/null 2> "$work/retire.log" || fail "retire under load: $(cat "$work/retire.log")"
  rounds=$((rounds + 1))
done
wait $load || fail "verified load: $(tail -n 5 "$work/fio.log")"
[ $rounds -ge 3 ] || fail "only $rounds spares came and went"
echo "$rounds spares came and went under the load"
[ "$(status_of remapped_blocks)" = 200 ] || fail "$(status_of remapped_blocks) remapped blocks"
mkfs.ext4 -q "$loop" && mount "$loop" "$files"
refused "a file on its own file system" "volume's own disk" remapfs spare "$map" add "$files/spare.img" --size 4M
ln -s "$files" "$work/link"
refused "the same by a link" "volume's own disk" remapfs spare "$map" add "$work/link/spare.img" --size 4M
[ -z "$(find "$files" -name 'spare.img')" ] || fail "left behind on the file system"
umount "$files"
detach
remapfs check "$map" > /dev/null || fail "check at the end"

# An earlier copy of the map knows nothing of the spare that has all the blocks by now: nothing is done to that.
remapfs mount "$map" "$work/volume"
first=$(spares .id)
remapfs backup "$map" "$work/earlier.map" > /dev/null
remapfs spare "$map" add "$work/late.img" --size 8M > /dev/null
remapfs spare "$map" retire "$first" > /dev/null
remapfs unmount "$map"
mv "$map" "$work/latest.map"
cp "$work/earlier.map" "$map"
refused "a spare that the map does not know" 'has been a spare of this volume' remapfs spare "$map" add "$work/late.img"
rm "$map"
mv "$work/latest.map" "$map"
remapfs check "$map" > /dev/null || fail "check after an earlier map was put back"
remapfs mount "$map" "$work/volume"
[ "$(status_of remapped_blocks)" = 200 ] || fail "after an earlier map was put back: $(status_of remapped_blocks) remapped blocks"
remapfs unmount "$map"

# One that has left and was not wiped, since somebody was killed just then, may join again: its map knows it.
remapfs spare "$map" add "$work/left.img" --size 6M > /dev/null
remapfs mount "$map" "$work/volume"
remapfs unmount "$map"
cp "$work/left.img" "$work/left.copy"
remapfs spare "$map" retire "$(spares .id | tr ' ' '\n' | tail -n 1)" > /dev/null
cp "$work/left.copy" "$work/left.img"
remapfs spare "$map" add "$work/left.img" > /dev/null || fail "a former spare was refused"
remapfs check "$map" > /dev/null || fail "check after a former spare joined again"
