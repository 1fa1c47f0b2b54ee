#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# filesystem_test.sh ext4|xfs|btrfs: blocks die under a file system while programs make, rename, link, truncate, punch and
# remove files on it, and source trees are written. Everything that was written is right, then and after a remount.
. "$(dirname "$0")/lib.sh"
fs=$1
seconds=$((soak == 1 ? 90 : 12))

start_filesystem "$fs"
mkdir "$files/noise"
start_storm 512 "$total" "$((soak == 1 ? 4 : 0)).5"
stress-ng --quiet --seed "$seed" --temp-path "$files/noise" --verify --hdd 1 --hdd-bytes 16m --dir 1 --dir-dirs 256 --link 1 \
  --rename 1 --fallocate 1 --fallocate-bytes 16m --fpunch 1 --utime 1 --timeout "$seconds" > "$work/noise.log" 2>&1 &
noise=$!
trees=0
while kill -0 "$noise" 2> /dev/null; do
  rm -rf "$files/tree-$((trees % 2))"
  unpack_sources "$files/tree-$((trees % 2))"
  trees=$((trees + 1))
done
wait "$noise" || fail "stress-ng in the storm: $(tail -n 5 "$work/noise.log")"
wait_for_storm
rm -rf "$files/noise"
unpack_sources "$files/last"
sync -f "$files"
# Against the originals: whatever the disk did, these are the bytes.
for tree in "$files/last" "$files/tree-$(((trees + 1) % 2))"; do
  diff -r --no-dereference /usr/include/linux "$tree/linux" > "$work/diff.log" || fail "$tree: $(head -n 3 "$work/diff.log")"
done
checksum "$work/sums"
moved=$(status_of remapped_blocks)
[ "$moved" -ge $((total / 20)) ] || fail "only $moved blocks were moved: the storm did not meet the writes"
[ "$(status_of lost_sectors)" = 0 ] || fail "sectors were lost"
check_commits 20 10
come_back "$fs" "a file is not what was written"
check_reader
umount "$files"
detach
remapfs check "$map" > "$work/check.log" || fail "check: $(cat "$work/check.log")"
echo "$fs: $trees trees written, $(wc -l < "$work/sums") files right, $moved blocks moved"
