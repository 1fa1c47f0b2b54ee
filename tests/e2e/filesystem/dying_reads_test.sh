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
  for s in $(seq 64); do printf '%-512s' "victim-$v-$s-000"; done > "$files/victim-$v"
done
sync
checksum "$work/sums"
umount "$files"

# sector_of TEXT: the first on the platter that holds it.
sector_of() {
  python3 -c 'import mmap, sys
with open(sys.argv[1], "rb") as platter:
    print(mmap.mmap(platter.fileno(), 0, access=mmap.ACCESS_READ).find(sys.argv[2].encode()) // 512)' "$work/platter.img" "$1"
}
rules=()
for v in $(seq "$victims"); do
  sector=$(sector_of "victim-$v-17-000")
  [ "$sector" -ge 0 ] || fail "victim $v is not on the platter"
  rules+=("sectors=$sector-$((sector + v % 3)),op=read,mode=until-written")
done
faulty_disk set "$work/failing" "${rules[@]}" > /dev/null
mount "$loop" "$files"

(cd "$files" && LC_ALL=C sha256sum --check "$work/sums") > "$work/checked" 2> "$work/errors" || true
[ "$(wc -l < "$work/checked")" = "$(wc -l < "$work/sums")" ] || fail "not every file was read: $(tail -n 5 "$work/errors")"
bad=0
while read -r line; do
  name=${line%%: *}
  case $line in
    ./victim-*": FAILED open or read") ;;
    *) fail "$line, but no sector of it failed" ;;
  esac
  grep -qF "$name: Input/output error" "$work/errors" || fail "$name failed with something else: $(cat "$work/errors")"
  bad=$((bad + 1))
done < <(grep -v ': OK$' "$work/checked")
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
