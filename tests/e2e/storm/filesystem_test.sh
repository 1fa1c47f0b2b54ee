#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# filesystem_test.sh ext4|xfs|btrfs: blocks die under a file system while programs make, rename, link, truncate, punch and
# remove files on it, and source trees and large files are written. Everything that was written is right, then and after a
# remount. In the soak at least 10,000 blocks are moved.
. "$(dirname "$0")/lib.sh"
fs=$1
seconds=$((soak == 1 ? 90 : 10))
total=$((soak == 1 ? 24000 : 1500))
least=$((soak == 1 ? 10000 : 700))
spare_size=$((soak == 1 ? 256 : 64))M # for blocks that die, and as many that are weak

head -c 80M /dev/urandom > "$work/large"
start_filesystem "$fs"
mkdir "$files/noise"
start_storm 512 "$total" "$((soak == 1 ? 4 : 0)).$((soak == 1 ? 5 : 4))"
stress-ng --quiet --seed "$seed" --temp-path "$files/noise" --verify --hdd 1 --hdd-bytes 16m --dir 1 --dir-dirs 256 --link 1 \
  --rename 1 --fallocate 1 --fallocate-bytes 16m --fpunch 1 --utime 1 --timeout "$seconds" > "$work/noise.log" 2>&1 &
noise=$!
rounds=0
# In the place of those of the round before the last. The large one goes to the disk at once.
write_files() {
  local turn=$((rounds % 2))
  rm -rf "$files/tree-$turn" "$files/large-$turn"
  dd if="$work/large" of="$files/large-$turn" bs=1M oflag=direct status=none || fail "cannot write a large file"
  unpack_sources "$files/tree-$turn"
  rounds=$((rounds + 1))
}
while kill -0 "$noise" 2> /dev/null; do
  write_files
done
wait "$noise" || fail "stress-ng in the storm: $(tail -n 5 "$work/noise.log")"
wait_for_storm
rm -rf "$files/noise"
write_files
write_files
sync -f "$files"
# Against the originals: whatever the disk did, these are the bytes.
for turn in 0 1; do
  for part in c++ linux; do
    diff -r --no-dereference "/usr/include/$part" "$files/tree-$turn/$part" > "$work/diff.log" ||
      fail "$part: $(head -n 3 "$work/diff.log")"
  done
  cmp "$work/large" "$files/large-$turn" || fail "a large file"
done
checksum "$work/sums"
moved=$(status_of remapped_blocks)
[ "$moved" -ge "$least" ] || fail "only $moved blocks were moved: the storm did not meet the writes"
[ "$(status_of lost_sectors)" = 0 ] || fail "sectors were lost"
check_commits 20 10
come_back "$fs" "a file is not what was written"
check_reader
umount "$files"
detach
remapfs check "$map" > "$work/check.log" || fail "check: $(cat "$work/check.log")"
echo "$fs: files written in $rounds rounds, $(wc -l < "$work/sums") files right, $moved blocks moved"
