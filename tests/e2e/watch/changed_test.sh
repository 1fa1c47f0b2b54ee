#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# changed_test.sh: a file primary that somebody else has written to since the volume was closed is noticed, once; what
# remapfs itself wrote is not, nor is a volume that was not closed in order, nor a disk.
source "$(dirname "$0")/../lib.sh"

truncate -s 32M "$work/primary.img"
make_volume "$work/primary.img"
mount_it() { remapfs mount "$map" "$work/volume" 2> "$work/err" || fail "mount: $(cat "$work/err")"; }
changes() { remapfs events "$map" -J | jq '[.events[] | select(.kind == "primary-changed")] | length'; }
write_through() { dd if=/dev/urandom of="$work/volume/disk" bs=4k count=8 seek="$1" conv=notrunc oflag=direct status=none; }
quiet() { [ ! -s "$work/err" ] && [ "$(changes)" = "$1" ] || fail "$2: $(changes) events, said $(cat "$work/err")"; }

mount_it
quiet 0 "a new volume"
write_through 0
remapfs unmount "$map"
remapfs add "$map" 100 > /dev/null
mount_it
quiet 0 "after writes through the mount, and a command without one"
remapfs unmount "$map"
remapfs scrub "$map" > /dev/null 2>&1
mount_it
quiet 0 "after a scrub"
remapfs unmount "$map"

# Somebody else.
printf x | dd of="$work/primary.img" bs=1 seek=5000 conv=notrunc status=none
mount_it
grep -q '^remapfs: note: the primary was written to, or copied, since the volume was last closed, .*primary.img, blocks on the spare' \
  "$work/err" || fail "said: $(cat "$work/err")"
[ "$(changes)" = 1 ] || fail "$(changes) events"
remapfs unmount "$map"
mount_it
quiet 1 "noticed once is enough"
remapfs unmount "$map"
# A command without a mount says so too.
touch -d '2001-01-01' "$work/primary.img"
remapfs retest "$map" > /dev/null 2> "$work/err" || fail "retest: $(cat "$work/err")"
grep -q 'was written to, or copied' "$work/err" || fail "retest said: $(cat "$work/err")"
[ "$(changes)" = 2 ] || fail "$(changes) events"

# Killed: nobody knows how it was left.
mount_it
write_through 50
worker=$(status_of worker_pid) daemon=$(status_of daemon_pid)
kill -STOP "$worker" "$daemon"
kill -KILL "$worker" "$daemon"
while [ -e "/proc/$daemon" ] && ! grep -q ' Z ' "/proc/$daemon/stat" 2> /dev/null; do sleep 0.05; done
remapfs unmount --force "$map"
printf x | dd of="$work/primary.img" bs=1 seek=5000 conv=notrunc status=none
mount_it
quiet 2 "after a crash"
remapfs unmount "$map"
remapfs check "$map" > /dev/null || fail check

# A disk has no such time.
remapfs destroy "$map" > /dev/null
rm "$work/spare.img"
loop=$(losetup --show -f "$work/primary.img")
extra_clean_up() { losetup -d "$loop"; }
make_volume "$loop"
mount_it
write_through 0
remapfs unmount "$map"
printf x | dd of="$work/primary.img" bs=1 seek=5000 conv=notrunc status=none
mount_it
quiet 0 "a disk"
remapfs unmount "$map"

# A spare at the end of the primary: what remapfs writes there is its own, also in a repair.
remapfs destroy "$map" > /dev/null
truncate -s 32M "$work/one.img"
remapfs create "$map" --primary "$work/one.img" --reserve 8M > /dev/null
mount_it
write_through 0
remapfs add "$map" 5 > /dev/null
remapfs unmount "$map"
mount_it
quiet 0 "a spare in the primary"
remapfs unmount "$map"
sqlite3 -readonly "$map" 'SELECT primary_stamp IS NOT NULL FROM volume' | grep -qx 1 || fail "no stamp of such a primary"
dd if=/dev/zero of="$work/one.img" bs=4k count=1 seek=$((32 * 256 - 1)) conv=notrunc status=none
remapfs repair "$map" > /dev/null || fail repair
mount_it
quiet 0 "after a repair"
remapfs unmount "$map"
printf x | dd of="$work/one.img" bs=1 seek=5000 conv=notrunc status=none
mount_it
[ "$(changes)" = 1 ] || fail "somebody else's write to such a primary was not noticed"
remapfs unmount "$map"
