#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# dm_table_test.sh: the table that export writes for the device mapper is, byte for byte and error for error, the mounted
# volume; and the commands that it carries are right, with stand-ins for losetup and dmsetup (no kernel of a test has to
# have the device mapper).
source "$(dirname "$0")/../lib.sh"
here=$(dirname "$(realpath "$0")")

head -c $((8 * 1048576 + 3 * 512)) /dev/urandom > "$work/primary disk.img"  # a blank in its name, a partial last block
remapfs create "$map" --primary "$work/primary disk.img" --spare "$work/spare.img" --spare-size 4M > /dev/null
remapfs add "$map" 5-8 100 20 2048 > /dev/null
remapfs mark-lost "$map" 100 101 > /dev/null
printf '%s\n' 9 11 12 4000 4001 4002 4003 4004 4005 4006 4007 16385 | sed '$d' > "$work/sectors"
remapfs import "$map" --format badblocks --block-size 512 "$work/sectors" > /dev/null
seq 300 302 > "$work/weak"
remapfs import "$map" --format badblocks --block-size 4096 --as weak "$work/weak" > /dev/null

# New data in slots, half of a lost block rewritten, and one sector of a remapped one that is lost otherwise.
remapfs mount "$map" "$work/volume"
write() { head -c 512 /dev/urandom | dd of="$work/volume/disk" bs=512 seek="$1" conv=notrunc status=none; }
for sector in 40 47 160 803 808 809 16384 16386 72; do write "$sector"; done
if remapfs export "$map" --format dmsetup "$work/table" 2> "$work/refused"; then fail "a table of a mounted volume"; fi
grep -q '^remapfs: mounted, .*/volume, unmount it first' "$work/refused" || fail "refused with: $(cat "$work/refused")"
[ ! -e "$work/table" ] || fail "a table although it was refused"
remapfs unmount "$map"

remapfs export "$map" --format dmsetup "$work/table"
mkdir "$work/bin"
# shellcheck disable=SC2016
printf '#!/bin/sh\ncase $1 in --detach) shift; printf "%%s\\n" "$@" >> %s/detached ;; *) ln -s "$3" %s/$$.loop && echo %s/$$.loop ;; esac\n' \
  "$work" "$work" "$work" > "$work/bin/losetup"
# shellcheck disable=SC2016
printf '#!/bin/sh\necho "$@" >> %s/dmsetup.log; [ "$1" = remove ] || cat > %s/loaded\n' "$work" "$work" > "$work/bin/dmsetup"
chmod +x "$work/bin/losetup" "$work/bin/dmsetup"
sed -n 's/^#   //p' "$work/table" > "$work/commands"
(cd "$work" && PATH="$work/bin:$PATH" sh -eux "$work/commands")
uuid=$(status_of volume.uuid)
[ "$(cat "$work/dmsetup.log")" = "create remapfs-${uuid%%-*}
remove remapfs-${uuid%%-*}" ] || fail "commands: $(cat "$work/commands")"
[ "$(wc -l < "$work/detached")" = 2 ] || fail "loop devices left: $(cat "$work/detached")"
grep -v '^#' "$work/loaded" | grep -q ' error$' || fail "no lost sectors in the table"
grep -v '^#' "$work/loaded" | awk '$3 == "linear" { print $4 }' | sort -u | wc -l | grep -qx 2 || fail "not two devices"

remapfs mount "$map" "$work/volume"
timeout 120 python3 "$here/dm_table.py" "$work/loaded" "$work/volume/disk"

# The comparison would notice.
awk '/^#/ { print; next } $3 == "linear" && !done { $5 += 1; done = 1 } { print }' "$work/loaded" > "$work/wrong"
if timeout 120 python3 "$here/dm_table.py" "$work/wrong" "$work/volume/disk" 2> /dev/null; then fail "a wrong table passed"; fi
