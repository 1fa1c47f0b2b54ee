#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# udev_test.sh SOURCE_DIR BUILD_DIR REMAPFS: a udevd of the test's own, with its own /dev and /run, sees a volume come and
# go. Loop devices stand for disks: what it is told too late, when the daemon holds its lock, udevd leaves for later.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
if [ "${REMAPFS_TEST_MOUNTS:-}" != private ]; then
  REMAPFS_TEST_MOUNTS=private exec unshare --mount --propagation slave "$0" "$@"
fi
udevd=/lib/systemd/systemd-udevd
[ -x "$udevd" ] || fail "$udevd is not here: run tools/install-dependencies --test"
need udevadm addpart
program=$3
remapfs() { timeout 60 "$program" "$@"; }

work=$(mktemp -d /var/tmp/remapfs-udev.XXXXXX)
server=
primary=
spare=
clean_up() {
  status=$?
  trap - EXIT
  set +e
  [ ! -e "$work/old.map" ] || remapfs detach "$work/old.map" > /dev/null 2>&1
  [ -z "$primary" ] || losetup --detach "$primary"
  [ -z "$spare" ] || losetup --detach "$spare"
  [ -z "$server" ] || { kill "$server" && wait "$server"; } 2> /dev/null
  umount -l /dev "$work/dev" /usr/lib/udev "$work/layer" 2> /dev/null
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap clean_up EXIT

# Our rules beside the system's; links and the database of devices where nobody else sees them.
mkdir -p "$work/layer" "$work/dev"
mount -t tmpfs tmpfs "$work/layer"
mkdir -p "$work/layer/udev/rules.d"
cp "$source_dir"/packaging/udev/*.rules "$work/layer/udev/rules.d"
cp "$source_dir/packaging/udev/remapfs-volume" "$work/layer/udev"
mount -t overlay -o "lowerdir=$work/layer/udev:/usr/lib/udev" overlay /usr/lib/udev
mkdir -p /run/udev /run/remapfs
mount -t tmpfs -o mode=755 tmpfs /run/udev
mount -t tmpfs -o mode=755 tmpfs /run/remapfs
mount -t tmpfs -o mode=755 tmpfs "$work/dev"
cp -a /dev/{null,zero,full,random,urandom,tty,fuse,loop-control} "$work/dev"
for ((i = 0; i < 64; ++i)); do mknod "$work/dev/loop$i" b 7 "$i"; done
mount --bind "$work/dev" /dev

truncate -s 64M "$work/primary.img" "$work/spare.img"
mkfs.ext4 -q -L rawdisk "$work/primary.img"
"$udevd" > "$work/udevd.log" 2>&1 &
server=$!
for ((i = 0; i < 100; ++i)); do
  [ ! -S /run/udev/control ] || break
  sleep 0.1
done
settle() { udevadm settle --timeout=30; }
settle
primary=$(losetup --find --show "$work/primary.img")
spare=$(losetup --find --show "$work/spare.img")
settle

# property DEVICE NAME: what udev's database has of it.
property() { udevadm info --query=property --path="/sys/class/block/${1##*/}" | sed -n "s/^$2=//p"; }
expect() { # DEVICE NAME VALUE
  local found
  found=$(property "$1" "$2")
  [ "$found" = "$3" ] || fail "$step: $1 has $2=$found, not $3: $(udevadm info --query=property --path="/sys/class/block/${1##*/}")"
}
points_to() { # LINK DEVICE
  [ "$(readlink -f "$1")" = "$2" ] || fail "$step: $1 is $(readlink -f "$1"), not $2"
}
raw_is_visible() {
  expect "$primary" ID_FS_TYPE ext4
  expect "$primary" REMAPFS_MEMBER ''
  expect "$primary" SYSTEMD_READY ''
  points_to /dev/disk/by-label/rawdisk "$primary"
}
raw_is_hidden() {
  for device in "$primary" "$spare"; do
    expect "$device" REMAPFS_MEMBER 1
    expect "$device" SYSTEMD_READY 0
    expect "$device" UDISKS_IGNORE 1
    expect "$device" ID_FS_TYPE ''
    expect "$device" ID_FS_UUID ''
  done
}

step="before"
raw_is_visible

step="created, not mounted"
remapfs create "$work/old.map" --primary "$primary" --spare "$spare" --label 'old disk' > /dev/null
settle
raw_is_visible

step="attached"
loop=$(remapfs attach "$work/old.map")
settle
uuid=$(remapfs status "$work/old.map" -J | sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p' | head -n 1)
raw_is_hidden
points_to "/dev/remapfs/$uuid" "$loop"
points_to /dev/remapfs/old_disk "$loop"
expect "$loop" ID_FS_TYPE ext4
points_to /dev/disk/by-label/rawdisk "$loop"

step="an event in between, which waits for the lock"
udevadm trigger --action=change "$primary" "$spare"
raw_is_hidden
points_to /dev/disk/by-label/rawdisk "$loop"

step="detached"
remapfs detach "$work/old.map"
settle
raw_is_visible
expect "$spare" REMAPFS_MEMBER ''
[ ! -e /dev/remapfs ] || fail "$step: $(ls -l /dev/remapfs)"
left=$(find /run/remapfs -name '*.volume' -o -path '*devices*')
[ -z "$left" ] || fail "$step: left $left"

step="the daemon was killed"
loop=$(remapfs attach "$work/old.map")
daemon=$(remapfs status "$work/old.map" -J | sed -n 's/.*"daemon_pid": *\([0-9]*\).*/\1/p')
kill -9 "$daemon"
settle
raw_is_hidden
remapfs detach "$work/old.map" > /dev/null 2>&1 || true
settle
raw_is_visible

step="a mount by hand"
mkdir "$work/mnt"
remapfs mount "$work/old.map" "$work/mnt"
loop=$(losetup --find --show "$work/mnt/disk")
settle
points_to /dev/remapfs/old_disk "$loop"
losetup --detach "$loop"
settle
[ ! -e /dev/remapfs ] || fail "$step: the link outlives the loop device"
remapfs unmount "$work/old.map"
settle

step="a disk with partitions"
remapfs destroy "$work/old.map" > /dev/null
losetup --detach "$primary"
primary=
settle
rm "$work/primary.img"
truncate -s 64M "$work/primary.img"
primary=$(losetup --find --show --partscan "$work/primary.img")
remapfs create "$work/old.map" --primary "$primary" --spare "$spare" --force > /dev/null
settle
# A kernel may know no partition tables. Such a one forgets the partition when udevd asks it to read the table again,
# which it does whenever somebody who wrote to the disk closes it.
addpart "$primary" 1 2048 100000
settle
part=${primary}p1
IFS=: read -r major minor < "/sys/class/block/${part##*/}/dev"
mknod "$part" b "$major" "$minor"
mkfs.ext4 -q -L rawpart "$part"
settle
echo change > "/sys/class/block/${part##*/}/uevent"
settle
expect "$part" ID_FS_TYPE ext4
remapfs attach "$work/old.map" > /dev/null
settle
raw_is_hidden
expect "$part" REMAPFS_MEMBER 1
expect "$part" SYSTEMD_READY 0
expect "$part" ID_FS_TYPE ''
remapfs detach "$work/old.map"
settle
if [ -e "/sys/class/block/${part##*/}" ]; then
  expect "$part" REMAPFS_MEMBER ''
  expect "$part" ID_FS_TYPE ext4
fi
if grep -q remapfs "$work/udevd.log"; then fail "udevd complains: $(grep remapfs "$work/udevd.log")"; fi
echo "raw devices hidden and shown again, links made and removed"
