#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# owners_test.sh SOURCE_DIR: lost sectors of ext4 and XFS, in partitions and without, are traced to the files that their
# file systems say they belong to: contents, names, attributes, metadata and free space; also when metadata is lost as
# well, mounted and not.
source "$(dirname "$0")/../lib.sh"
schema=$1/docs/schema/files.schema.json
conforms() { python3 "$(dirname "$0")/../exchange/validate.py" "$schema"; }
megabyte=$((1 << 20))
extra_clean_up() { losetup -j "$work/primary.img" | cut -d: -f1 | xargs -r losetup -d; }

# fill FOLDER: files of which it is known what they are called.
fill() {
  mkdir -p "$1/photos/2019"
  head -c 3000000 /dev/urandom > "$1/photos/2019/beach.jpg"
  head -c 100000 /dev/urandom > "$1/with blank"
  head -c 20000 /dev/urandom > "$1/$(printf 'line\nblock 9 type data inode 7 forged')"
  for i in $(seq 400); do echo "$i" > "$1/photos/a name long enough to fill blocks with names $i"; done
  sync -f "$1"
}

# place_of FILE BYTE: where that byte of the file is in its file system.
place_of() { filefrag -v -b512 "$1" | python3 -c '
import re, sys
at = int(sys.argv[1])
for line in sys.stdin:
    found = re.match(r"\s*\d+:\s*(\d+)\.\.\s*(\d+):\s*(\d+)\.\.", line)
    if found and int(found[1]) <= at // 512 <= int(found[2]):
        print((int(found[3]) + at // 512 - int(found[1])) * 512)
' "$2"; }

# make_fs TYPE OFFSET SIZE: in the image, filled. Writes where some bytes are, as "path offset place on the disk".
make_fs() {
  local type=$1 offset=$2 size=$3 device at path
  device=$(losetup --show -f --offset "$offset" --sizelimit "$size" "$work/primary.img")
  case $type in
    ext4) mkfs.ext4 -q -F -b 1024 "$device" ;;
    ext4-4k) mkfs.ext4 -q -F -b 4096 -O ^has_journal "$device" ;;
    xfs) mkfs.xfs -q -f "$device" ;;
  esac
  mount "$device" "$files"
  fill "$files"
  : > "$work/places.$type"
  for path in photos/2019/beach.jpg "with blank"; do
    for at in 0 50176 98304; do
      echo "$at $((offset + $(place_of "$files/$path" $at))) /$path" >> "$work/places.$type"
    done
  done
  echo "0 $((offset + $(place_of "$files/line"* 0))) $(cd "$files" && printf '/%s' line* | tr '\n' ' ')" >> "$work/places.$type"
  case $type in
    xfs) at=$(xfs_bmap "$files/photos" | grep -m1 -oE '[0-9]+\.\.[0-9]+$' | cut -d. -f1) && at=$((at * 512)) ;;
    ext4) at=$(debugfs -R 'blocks /photos' "$device" 2> /dev/null | awk '{ print $1 * 1024 }') ;;
    ext4-4k) at=$(debugfs -R 'blocks /photos' "$device" 2> /dev/null | awk '{ print $1 * 4096 }') ;;
  esac
  echo $((offset + at)) > "$work/names.$type"
  umount "$files"
  losetup -d "$device"
}

sector_of() { echo $(($1 / 512)); }
# Standard input: sectors that become lost.
lose() { sort -n | remapfs import "$map" - --format badblocks --block-size 512 > /dev/null; }

# look NAME: what is said of it.
look() {
  remapfs files "$map" -J > "$work/$1.json" 2> "$work/err" || fail "$1: $(cat "$work/err")"
  conforms < "$work/$1.json"
}

# expect_places TYPE PARTITION NAME: every place of the file system is named right.
expect_places() {
  local at place path
  while read -r at place path; do
    jq -e --argjson sector $((place / 512)) --arg path "$path" --arg at "$at" --argjson partition "$2" '
      [.lost[] | select(.first_sector <= $sector and $sector < .first_sector + .sectors)] | length == 1 and (.[0] |
        .partition == $partition and (.path | gsub("\n"; " ")) == $path and .content == "file" and
        .offset + ($sector - .first_sector) * 512 == ($at | tonumber))' \
      "$work/$3.json" > /dev/null || fail "$3: $path at $at, sector $((place / 512)): $(jq -c --argjson s $((place / 512)) \
      '.lost[] | select(.first_sector <= $s and $s < .first_sector + .sectors)' "$work/$3.json") $(head -c 400 "$work/$3.json")"
  done < "$work/places.$1"
}

# --- a disk with a table: ext4 of small blocks, and XFS ---
truncate -s $((480 * megabyte)) "$work/primary.img"
python3 - "$work/primary.img" << 'END'
import struct, sys
with open(sys.argv[1], "r+b") as disk:
    for i, (kind, first, count) in enumerate([(0x83, 2048, 64 * 2048), (0x83, 70 * 2048, 400 * 2048)]):
        disk.seek(446 + 16 * i)
        disk.write(struct.pack("<B3sB3sII", 0, bytes(3), kind, bytes(3), first, count))
    disk.seek(510)
    disk.write(b"\x55\xaa")
END
make_fs ext4 $((1 * megabyte)) $((64 * megabyte))
make_fs xfs $((70 * megabyte)) $((400 * megabyte))
make_volume "$work/primary.img"
remapfs files "$map" 2> "$work/err" > "$work/out" || fail "files of a whole disk"
grep -q 'no sector is lost' "$work/err" && [ ! -s "$work/out" ] || fail "$(cat "$work/err")"
(
  while read -r at place path; do sector_of "$place"; done < <(cat "$work/places.ext4" "$work/places.xfs")
  echo $((66 * 2048))                       # between the partitions
  echo $((2048 + 60 * 2048))                # free, near the end of the first one
  echo $((70 * 2048 + 399 * 2048))          # and of the second
  echo $((2048 + 2))                        # the superblock of ext4: its second kilobyte
) | lose
before=$(sha256sum "$work/primary.img" "$map")
look unmounted
expect_places ext4 1 unmounted
expect_places xfs 2 unmounted
content_at() { jq -r --argjson s "$1" '.lost[] | select(.first_sector <= $s and $s < .first_sector + .sectors) | .content' "$work/$2.json"; }
[ "$(content_at $((66 * 2048)) unmounted)" = outside ] || fail "between the partitions"
[ "$(content_at $((2048 + 60 * 2048)) unmounted)" = free ] || fail "free on ext4"
[ "$(content_at $((70 * 2048 + 399 * 2048)) unmounted)" = free ] || fail "free on XFS"
[ "$(content_at $((2048 + 2)) unmounted)" = metadata ] || fail "the superblock"
[ "$(sha256sum "$work/primary.img" "$map")" = "$before" ] || fail "something was written"
remapfs files "$map" > "$work/words"
grep -qE '^ *[0-9]+ +1 +1 ext4 +file +50176 /photos/2019/beach.jpg' "$work/words" || fail "$(cat "$work/words")"
if grep -qE '^block 9 ' "$work/words"; then fail "a name became a line"; fi
if mount | grep -q remapfs-view; then fail "a view is left"; fi

# The same of a mounted volume.
remapfs mount "$map" "$work/volume"
look mounted
[ "$(jq -S . "$work/mounted.json")" = "$(jq -S . "$work/unmounted.json")" ] || fail "mounted it is another answer"
[ "$(remapfs metrics --all | grep -c '^remapfs_mounted{')" = 1 ] || fail "a view counts as a volume"
remapfs unmount "$map"

# The names of what is in a folder are lost: the folder has its name, and what is in it keeps its own where it can.
for type in ext4 xfs; do sector_of "$(cat "$work/names.$type")"; done | lose
look nameless
for type in ext4 xfs; do
  jq -e --argjson s "$(sector_of "$(cat "$work/names.$type")")" '[.lost[] | select(.first_sector <= $s and $s < .first_sector + .sectors)] |
    length == 1 and .[0].content == "directory" and .[0].path == "/photos"' "$work/nameless.json" > /dev/null ||
    fail "names of $type: $(cat "$work/nameless.json")"
done
jq -e '[.lost[] | select(.partition == 1 and (.path // "" | test("^(/photos/2019|<[0-9]+>)/beach.jpg$")))] | length > 0' \
  "$work/nameless.json" > /dev/null || fail "nameless: $(cat "$work/nameless.json")"

remapfs destroy "$map" > /dev/null
rm "$work/spare.img" "$work/primary.img"

# --- ext4 on the disk itself, whose inode table and bitmaps are lost as well ---
truncate -s $((128 * megabyte)) "$work/primary.img"
make_fs ext4-4k 0 $((128 * megabyte))
group() { dumpe2fs "$work/primary.img" 2> /dev/null | grep -m1 "$1" | grep -oE '[0-9]+' | head -n "${2:-1}" | tail -n 1; }
table=$(group 'Inode table at')
bitmap=$(group 'Block bitmap at')
make_volume "$work/primary.img"
(
  while read -r at place path; do sector_of "$place"; done < "$work/places.ext4-4k"
  echo $((bitmap * 8))
  # The very last sector of the first table: inodes that nobody uses.
  echo $(((table + 100) * 8 + 7))
) | lose
look damaged
expect_places ext4-4k null damaged
jq -e --argjson s $((bitmap * 8)) '.lost[] | select(.first_sector == $s) | .content == "metadata" and .detail == "block bitmap"' \
  "$work/damaged.json" > /dev/null || fail "the bitmap: $(cat "$work/damaged.json")"
jq -e --argjson s $(((table + 100) * 8 + 7)) '.lost[] | select(.first_sector == $s) | .detail | startswith("inode table")' \
  "$work/damaged.json" > /dev/null || fail "the inode table: $(cat "$work/damaged.json")"

# What knows no file system says so.
remapfs destroy "$map" > /dev/null
rm "$work/spare.img" "$work/primary.img"
truncate -s 16M "$work/primary.img"
make_volume "$work/primary.img"
remapfs mark-lost "$map" 100 > /dev/null
look nothing
jq -e '.lost == [{first_sector: 800, sectors: 8, partition: null, file_system: null, content: "outside", path: null, inode: null,
  offset: null, detail: null}]' "$work/nothing.json" > /dev/null || fail "$(cat "$work/nothing.json")"
