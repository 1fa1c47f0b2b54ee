#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dying_writes_test.sh ext4|xfs|btrfs: a file system takes a source tree while 500 sectors die under it. Nothing is lost.
. "$(dirname "$0")/../lib.sh"
fs=$1

start_filesystem "$fs"

# All over the disk, and where the file system writes now.
faulty_disk set "$work/failing" "count=250,seed=$seed,op=write" > /dev/null
unpack_sources "$files/one"
faulty_disk set "$work/failing" "count=250,seed=$((seed + 1)),op=write,within=0-300000" > /dev/null
unpack_sources "$files/two"
sync
checksum "$work/sums"
remapped=$(status_of remapped_blocks)
[ "$remapped" -ge 20 ] || fail "only $remapped blocks were remapped: the faults did not meet the writes"
[ "$(status_of lost_sectors)" = 0 ] || fail "write errors lost sectors"
check_commits 5

come_back "$fs" "a file is not what was written"
[ "$(status_of remapped_blocks)" -ge "$remapped" ] || fail "remapped blocks were forgotten"
check_reader
umount "$files"
detach
remapfs check "$map" > "$work/check.log" || fail "check: $(cat "$work/check.log")"
echo "$fs: $(wc -l < "$work/sums") files right, $remapped blocks remapped"
