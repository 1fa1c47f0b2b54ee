#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# reserve_test.sh SOURCE_DIR: one disk, whose end is the spare: sectors die under a file system, in the disk and in the
# reserve; whoever serves is killed; the map is lost; the disk is pulled and comes back, is replaced, and the reserve
# given up. What must be refused is.
source "$(dirname "$0")/../lib.sh"
schemas=$1/docs/schema
conforms() { python3 "$(dirname "$0")/../exchange/validate.py" "$schemas/$1.schema.json"; }
create() { remapfs create "$map" --primary "$disk" "$@"; }
sums() { (cd "$files" && sha256sum --quiet -c "$work/sums") || fail "$1"; }
again() { # down and up: the mount has nothing to say about the disk
  detach
  attach 2> "$work/notes"
  if grep -q 'written to' "$work/notes"; then fail "our own writes taken for somebody else's: $(cat "$work/notes")"; fi
}

make_faulty_disk 128M
megabyte=1048576

# What must not be.
refused "neither" "one of --spare and --reserve" create
refused "both" "one of --spare and --reserve" create --reserve 32M --spare "$work/spare.img"
refused "a size for no spare" "--spare-size belongs" create --reserve 32M --spare-size 1M
refused "all of it" "leaves no disk" create --reserve 128M
refused "too little" "too small" create --reserve 1M
mkfs.ext4 -q "$disk"
refused "a file system to the end" "no larger than 100663296 bytes" create --reserve 32M
tune2fs -l "$disk" > /dev/null || fail "the refused one was changed"
[ ! -e "$map" ] || fail "a map is there after refusals"

# The file system is made smaller first: nothing of it is touched.
resize2fs "$disk" 96M > "$work/resize.log" 2>&1 || fail "$(cat "$work/resize.log")"
head -c 100663296 "$disk" | sha256sum > "$work/before"
create --reserve 32M --force | grep -q "spare $disk from 96M on" || fail "words of create"
head -c 100663296 "$disk" | sha256sum | cmp - "$work/before" || fail "the disk before the reserve was changed"
remapfs status "$map" -J | conforms status
remapfs spare "$map" list -J | conforms spare
remapfs spare "$map" list | grep -q 'from 96M on' || fail "list: $(remapfs spare "$map" list)"

remapfs metrics "$map" > "$work/metrics"
[ -z "$(grep -v '^#' "$work/metrics" | sed 's/ [^ ]*$//' | sort | uniq -d)" ] || fail "figures twice: $(cat "$work/metrics")"

# Sectors die, in the disk and in the first slots, under a file system; whoever serves is killed.
attach
[ "$(blockdev --getsize64 "$loop")" = 100663296 ] || fail "size of the disk"
mount "$loop" "$files"
start_reader
seq 1007 397 196000 > "$work/bad"
faulty_disk set "$work/failing" "list=$work/bad,op=write" > /dev/null
first_slot=$(((96 + 1) * megabyte / 512))
faulty_disk set "$work/failing" "sectors=$first_slot-$((first_slot + 40)),op=write" > /dev/null
unpack_sources "$files/one"
sync -f "$files"
kill -9 "$(status_of worker_pid)"
unpack_sources "$files/two"
sync -f "$files"
checksum "$work/sums"
check_reader
[ "$(status_of remapped_blocks)" -ge 50 ] || fail "hardly a block was relocated: $(remapfs status "$map")"
[ "$(status_of 'devices[1].slots_retired')" -ge 1 ] || fail "no slot failed: $(remapfs status "$map")"
[ "$(status_of lost_sectors)" = 0 ] || fail "lost: $(remapfs status "$map")"
echo "relocated $(status_of remapped_blocks) blocks, $(status_of 'devices[1].slots_retired') slots failed"
umount "$files"
again
mount "$loop" "$files"
sums "after a remount"
umount "$files"
check_filesystem ext4

# Pulled, and back.
dd if=/dev/urandom of="$work/volume/disk" bs=4k count=1 seek=24575 oflag=direct conv=notrunc status=none
faulty_disk gone "$work/failing" on > /dev/null
dd if="$work/volume/disk" of=/dev/null bs=4k count=1 iflag=direct status=none 2> /dev/null && fail "read from a pulled disk"
faulty_disk gone "$work/failing" off > /dev/null
remapfs resume "$map" > /dev/null
# That a write may have gone with the disk is told to one flush.
write_last() { dd if=/dev/urandom of="$loop" bs=4k count=1 seek=24575 oflag=direct conv=notrunc,fsync status=none 2> /dev/null; }
if write_last; then fail "nobody was told that writes may be lost"; fi
write_last || fail "told twice"
mount "$loop" "$files"
sums "after a pulled disk"
umount "$files"
detach
faulty_disk clear "$work/failing" all > /dev/null
[ "$(remapfs check "$map")" = clean ] || fail "check: $(remapfs check "$map")"

# The map is lost: the end of the disk knows, by itself or by its size; and with either superblock damaged.
blocks=$(status_of remapped_blocks)
mv "$map" "$work/old.map"
recovered() {
  remapfs recover "$map" --primary "$disk" "$@" 2> /dev/null | grep -q " $blocks remapped blocks" || fail "recover $*"
  [ "$(remapfs check "$map")" = clean ] || fail "check after recover $*: $(remapfs check "$map")"
  rm "$map"
}
ln -s "$disk" "$work/other-name"
refused "the disk whole, for another volume" "is the spare of a volume" \
  remapfs create "$work/second.map" --primary "$disk" --spare "$work/more.img" --spare-size 8M
recovered --spare "$disk"
recovered --spare "$work/other-name"
recovered --reserve 32M
cp "$work/old.map" "$map"
remapfs spare "$map" add "$work/second.img" --size 4M > /dev/null
rm "$map"
dd if="$disk" of="$work/end" bs=4k skip=$((32 * 1024 - 1)) count=1 status=none
dd if=/dev/zero of="$disk" bs=4k seek=$((32 * 1024 - 1)) count=1 conv=notrunc,fsync status=none
remapfs recover "$map" --primary "$disk" --spare "$work/second.img" --spare "$disk" --reserve 32M > "$work/words" 2>&1 ||
  fail "two spares, one at the end: $(cat "$work/words")"
mv "$map" "$work/two.map"
refused "a spare that was forgotten" "is in doubt" remapfs recover "$map" --primary "$disk" --reserve 32M
mv "$work/two.map" "$map"
# That writes the superblock at the end again.
remapfs spare "$map" retire 2 > /dev/null || fail "retire the second spare"
rm "$map" "$work/second.img"
recovered --spare "$disk"
refused "a reserve of one of two others" "for one spare" remapfs recover "$map" --primary "$disk" --spare "$work/platter.img" \
  --spare "$work/old.map" --reserve 32M
refused "no spare named" "is needed" remapfs recover "$map" --primary "$disk"
refused "another size" "has shrunk from 33554432" remapfs recover "$map" --primary "$disk" --reserve 16M
dd if="$disk" of="$work/end" bs=4k skip=$((32 * 1024 - 1)) count=1 status=none
dd if=/dev/zero of="$disk" bs=4k seek=$((32 * 1024 - 1)) count=1 conv=notrunc,fsync status=none
refused "where it begins is not known" "add --reserve" remapfs recover "$map" --primary "$disk" --spare "$disk"
remapfs recover "$map" --primary "$disk" --reserve 32M > /dev/null 2>&1 || fail "by the first superblock alone"
remapfs repair "$map" > /dev/null || fail "repair"
[ "$(remapfs check "$map")" = clean ] || fail "check after repair: $(remapfs check "$map")"
attach
mount "$loop" "$files"
sums "after recover"
umount "$files"
detach

# As a table for the device mapper: the same bytes.
remapfs export "$map" --format dmsetup "$work/table"
[ "$(grep -c losetup "$work/table")" = 2 ] || fail "loop devices of the table: $(head -n 10 "$work/table")"
remapfs mount "$map" "$work/volume"
sed "s|@primary@|$disk|" "$work/table" > "$work/plain.table"
python3 "$(dirname "$0")/../exchange/dm_table.py" "$work/plain.table" "$work/volume/disk" || fail "the table's bytes"
remapfs unmount "$map"

# Replaced: the reserve stays where it is, until there is another spare.
attach
truncate -s 96M "$work/new.img"
remapfs replace "$map" "$work/new.img" > "$work/words" 2> /dev/null || fail "replace"
grep -qx "$work/new.img is the primary now, spare 1 is still on $disk: add another, then retire it" "$work/words" ||
  fail "words: $(cat "$work/words")"
[ "$(status_of remapped_blocks)" = 0 ] || fail "blocks did not come home: $(remapfs status "$map")"
remapfs add "$map" 100-119 > /dev/null
again
# The map is lost now, and the end of the old disk is damaged.
detach
mv "$map" "$work/old.map"
blocks=20
dd if="$disk" of="$work/end" bs=4k skip=$((32 * 1024 - 1)) count=1 status=none
refused "the old disk by its new one" "another" remapfs recover "$map" --primary "$disk" --spare "$disk"
dd if=/dev/zero of="$disk" bs=4k seek=$((32 * 1024 - 1)) count=1 conv=notrunc,fsync status=none
remapfs recover "$map" --primary "$work/new.img" --spare "$disk" --reserve 32M --accept-stale > /dev/null 2>&1 ||
  fail "the spare on the old disk"
sqlite3 -readonly "$map" 'SELECT count(*) FROM remaps' | grep -qx 20 || fail "blocks of the spare on the old disk"
rm "$map"
dd if="$work/end" of="$disk" bs=4k seek=$((32 * 1024 - 1)) count=1 conv=notrunc,fsync status=none
mv "$work/old.map" "$map"
attach
[ "$(status_of 'devices[1].path')" = "$disk" ] || fail "where the spare is: $(remapfs status "$map")"
[ "$(status_of remapped_blocks)" = 20 ] || fail "rows: $(remapfs list "$map")"
refused "the disk with the spare" "share the same bytes" remapfs replace "$map" "$disk" --force
remapfs spare "$map" add "$work/second.img" --size 16M > /dev/null
remapfs spare "$map" retire 1 | grep -qx "spare 1 has left the volume, 20 blocks moved; $disk can be taken away" ||
  fail "words of retire"
mount "$loop" "$files"
sums "after the replacement"
umount "$files"
detach
faulty_disk gone "$work/failing" on > /dev/null
attach
check_filesystem ext4
detach
[ "$(remapfs check "$map")" = clean ] || fail "check at the end: $(remapfs check "$map")"

# On a block device, with a beginning beyond 32 bits; the only disk is not to be taken away.
truncate -s 4100M "$work/large.img"
block=$(losetup --find --show "$work/large.img")
extra_clean_up() { losetup -d "$block"; }
rm "$map"
remapfs create "$map" --primary "$block" --reserve 4M > /dev/null
remapfs spare "$map" list | grep -q 'from 4G on' || fail "list: $(remapfs spare "$map" list)"
remapfs add "$map" 7 > /dev/null
mv "$map" "$work/old.map"
remapfs recover "$map" --primary "$block" --spare "$block" 2> /dev/null | grep -q ' 1 remapped blocks' || fail "recover on a block device"
remapfs spare "$map" add "$work/third.img" --size 8M > /dev/null
remapfs spare "$map" retire 1 | grep -qx "spare 1 has left the volume, 1 blocks moved; $block is only the primary now" ||
  fail "words of retire, of the only disk"
remapfs destroy "$map" > /dev/null || fail destroy
