#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dying_reads_test.sh ext4|xfs|btrfs: sectors under files cannot be read any more. Exactly those files fail, with EIO; a
# rewrite heals them.
. "$(dirname "$0")/../lib.sh"
fs=$1
victims=12

start_filesystem "$fs"
unpack_sources "$files/tree"
# Files whose every sector can be told on the platter.
for v in $(seq "$victims"); do
  for s in $(seq 64); do printf 'victim-%s-%s-%0480d' "$v" "$s" 0 | head -c 512; done > "$files/victim-$v"
done
sync
checksum "$work/sums"
umount "$files"

rules=()
for v in $(seq "$victims"); do
  at=$(LC_ALL=C grep -abo -m 1 "victim-$v-17-000" "$work/platter.img" | head -n 1 | cut -d: -f1)
  [ -n "$at" ] || fail "victim $v is not on the platter"
  rules+=("sectors=$((at / 512))-$((at / 512 + v % 3)),op=read,mode=until-written")
done
faulty_disk set "$work/failing" "${rules[@]}" > /dev/null
mount "$loop" "$files"

bad=0
while read -r sum name; do
  if got=$(sha256sum "$files/$name" 2> "$work/error" | cut -d' ' -f1) && [ -n "$got" ]; then
    [ "$got" = "$sum" ] || fail "$name has other bytes"
  else
    grep -q 'Input/output error' "$work/error" || fail "$name: $(cat "$work/error")"
    case $name in ./victim-*) ;; *) fail "$name failed, but no sector of it did" ;; esac
    bad=$((bad + 1))
  fi
done < "$work/sums"
[ "$bad" = "$victims" ] || fail "$bad files failed, $victims have lost sectors"
[ "$(status_of lost_sectors)" -ge "$victims" ] || fail "lost sectors are not counted"
[ "$(status_of state)" = degraded ] || fail "the state is $(status_of state)"

for v in $(seq "$victims"); do
  head -c 32768 /dev/urandom > "$work/new"
  dd if="$work/new" of="$files/victim-$v" bs=32768 conv=notrunc,fsync status=none || fail "victim $v cannot be rewritten"
done
sync
checksum "$work/sums"
check_commits 5
come_back "$fs" "a rewritten file is not what was written"
check_reader
umount "$files"
detach
echo "$fs: $bad files failed with EIO and were healed, all others right"
