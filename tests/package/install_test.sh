#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install_test.sh SOURCE_DIR BUILD_DIR: the debs in a fresh Debian: installed with apt, the main job from the installed
# files, upgrades and a removal under a volume that is busy, a purge that leaves nothing.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
if [ "${REMAPFS_TEST_MOUNTS:-}" != private ]; then
  # What is unmounted outside is to go here too: whoever waits for that would wait for this test.
  REMAPFS_TEST_MOUNTS=private exec unshare --mount --propagation slave "$0" "$@"
fi
main=$(only "$packages"/deb/remapfs_*.deb)
disk=$(only "$packages"/deb/faulty-disk_*.deb)
tree=$(fresh_tree "$main")

work=$(mktemp -d /var/tmp/remapfs-install.XXXXXX)
root=$work/root
writer=
loop=
in_root() { timeout 600 chroot "$root" "$@"; }
clean_up() {
  status=$?
  trap - EXIT
  set +e
  touch "$work/disks/stop"
  wait
  mountpoint -q "$root/mnt" && timeout 60 umount "$root/mnt"
  [ -z "$loop" ] || timeout 60 losetup --detach "$loop" 2> /dev/null
  for place in $(grep -oE " $root/[^ ]* fuse\.(remapfs|faulty-disk)" /proc/mounts | cut -d' ' -f2); do timeout 60 umount "$place"; done
  # The rest goes with this mount namespace, but nothing is removed through it.
  for place in run tmp var/tmp dev sys proc ''; do umount -R "$root/$place" 2> /dev/null || umount -R -l "$root/$place" 2> /dev/null; done
  mountpoint -q "$work/volatile" && umount -l "$work/volatile"
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap clean_up EXIT

# The tree stays as it is; what the test does to it is in a layer of its own.
mkdir -p "$root" "$work/volatile"
mount -t tmpfs -o size=3g tmpfs "$work/volatile"
mkdir "$work/volatile/upper" "$work/volatile/work"
mount -t overlay -o "lowerdir=$tree,upperdir=$work/volatile/upper,workdir=$work/volatile/work" overlay "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$work/disks" && mount --bind "$work/disks" "$root/var/tmp"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
before=$(listing "$root")

step() { echo "== $*"; }

step "installed with apt"
cp "$main" "$disk" "$root/tmp/"
in_root apt-get -q install -y --no-install-recommends "/tmp/${main##*/}" "/tmp/${disk##*/}" > "$work/apt.log" 2>&1 ||
  { cat "$work/apt.log" && fail "apt-get install"; }
in_root dpkg --verify remapfs faulty-disk
[ -z "$(find "$root/etc" -newer "$main" -name '*remapfs*')" ] || fail "something is enabled by an installation"

step "the main job, as autopkgtest runs it"
cp "$source_dir/packaging/debian/tests/main-job" "$root/tmp/"
in_root /tmp/main-job > "$work/main-job.log" 2>&1 || { cat "$work/main-job.log" && fail "main-job"; }
grep 'every one right' "$work/main-job.log"
left=$(grep -E " $root/[^ ]* fuse\.(remapfs|faulty-disk)" /proc/mounts || true)
[ -z "$left" ] || fail "main-job left $left"

step "a volume that is busy"
map=/var/tmp/busy.map
mkdir -p "$root/mnt"
truncate -s 128M "$work/disks/primary"
in_root remapfs create $map --primary /var/tmp/primary --spare /var/tmp/spare --spare-size 16M > /dev/null
touch "$work/disks/rounds"
loop=$(in_root remapfs attach $map | tail -n 1)
in_root mkfs.ext4 -q "$loop"
in_root mount "$loop" /mnt
in_root sh -ec 'while [ ! -e /var/tmp/stop ]; do
    dd if=/dev/urandom of=/mnt/new bs=64k count=16 conv=fsync status=none
    want=$(sha256sum < /mnt/new)
    mv /mnt/new /mnt/file
    echo 1 > /proc/sys/vm/drop_caches || true
    [ "$(sha256sum < /mnt/file)" = "$want" ] || { echo "other bytes came back"; exit 1; }
    echo round >> /var/tmp/rounds
  done' > "$work/writer.log" 2>&1 &
writer=$!
daemon=$(in_root remapfs status $map -J | sed -n 's/.*"daemon_pid": *\([0-9]*\).*/\1/p')
[ -n "$daemon" ] || fail "status does not tell the daemon"
# still_serving WHAT: the writer goes on, in ten more rounds, without an error, and the daemon is the one it was.
still_serving() {
  local goal
  goal=$(($(wc -l < "$work/disks/rounds") + 10))
  for ((i = 0; i < 600; ++i)); do
    kill -0 "$writer" 2> /dev/null || { cat "$work/writer.log" && fail "$1: the writer met an error"; }
    [ "$(wc -l < "$work/disks/rounds")" -lt "$goal" ] || break
    sleep 0.1
  done
  [ "$i" -lt 600 ] || fail "$1: the writer stands still"
  kill -0 "$daemon" || fail "$1: the daemon has gone"
  grep -qE " $root/run/[^ ]* fuse\.remapfs" /proc/mounts || fail "$1: nothing is mounted any more"
}
still_serving "after the mount"

step "an upgrade under it"
dpkg-deb -R "$main" "$work/newer"
sed -i 's/^Version: .*/&+later/' "$work/newer/DEBIAN/control"
dpkg-deb --root-owner-group -b "$work/newer" "$root/tmp/newer.deb" > /dev/null
in_root apt-get -q install -y /tmp/newer.deb > "$work/apt.log" 2>&1 || { cat "$work/apt.log" && fail "upgrade"; }
in_root dpkg -s remapfs | grep -q '^Version: .*+later$' || fail "nothing was upgraded"
still_serving "after the upgrade"
grep -q "is served by /usr/bin/remapfs" "$work/apt.log" || { cat "$work/apt.log" && fail "the upgrade does not say that it moved the volume"; }
for process in "$daemon" "$(in_root remapfs status $map -J | sed -n 's/.*"worker_pid": *\([0-9]*\).*/\1/p')"; do
  [[ $(readlink "/proc/$process/exe") == */usr/bin/remapfs ]] || fail "process $process is not the new program: $(readlink "/proc/$process/exe")"
done

step "an upgrade to a program that cannot serve it"
cp /bin/false "$work/newer/usr/bin/remapfs"
sed -i 's/^Version: .*/&+2/' "$work/newer/DEBIAN/control"
dpkg-deb --root-owner-group -b "$work/newer" "$root/tmp/useless.deb" > /dev/null
cp "$root/usr/bin/remapfs" "$root/tmp/remapfs"
in_root apt-get -q install -y /tmp/useless.deb > "$work/apt.log" 2>&1 || { cat "$work/apt.log" && fail "upgrade"; }
still_serving "after an upgrade to a useless program"
in_root /tmp/remapfs status $map > /dev/null || fail "the old daemon cannot be asked"
in_root apt-get -q install -y --allow-downgrades /tmp/newer.deb > "$work/apt.log" 2>&1 || { cat "$work/apt.log" && fail "upgrade"; }
still_serving "after the way back"

step "a removal and a purge under it, with units enabled"
# As systemctl enable does, which this tree does not have.
wants=$root/etc/systemd/system/timers.target.wants
mkdir -p "$wants" "$root/var/lib/systemd/timers" "$root/var/lib/prometheus/node-exporter"
for unit in remapfs-scrub@var-tmp-busy.map.timer remapfs-metrics.timer; do ln -s "/lib/systemd/system/${unit/@*./@.}" "$wants/$unit"; done
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
for unit in remapfs@var-tmp-busy.map.service remapfs-attach@var-tmp-busy.map.service other.service; do
  ln -s "/lib/systemd/system/${unit/@*./@.}" "$root/etc/systemd/system/multi-user.target.wants/$unit"
done
touch "$root/var/lib/systemd/timers/stamp-remapfs-scrub@var-tmp-busy.map.timer" "$root/var/lib/prometheus/node-exporter/remapfs.prom"
for verb in remove purge; do
  in_root apt-get -q $verb -y remapfs > "$work/apt.log" 2>&1 || { cat "$work/apt.log" && fail "$verb"; }
  still_serving "after $verb"
done
[ ! -e "$root/usr/bin/remapfs" ] || fail "the program is still there"
left=$(find "$root/etc/systemd" "$root/var/lib/systemd" "$root/var/lib/prometheus" -name '*remapfs*')
[ -z "$left" ] || fail "left behind: $left"
rm "$root/etc/systemd/system/multi-user.target.wants/other.service" || fail "a purge disables the units of others"
rmdir --ignore-fail-on-non-empty "$root/etc/systemd/system/multi-user.target.wants" "$root/var/lib/systemd/timers"
[ -f "$work/disks/busy.map" ] && [ -f "$work/disks/spare" ] && [ -f "$work/disks/primary" ] || fail "a purge touched a volume"

step "taken down without the program, installed again, whole"
touch "$work/disks/stop"
wait "$writer" || { cat "$work/writer.log" && fail "the writer met an error"; }
writer=
umount "$root/mnt"
losetup --detach "$loop"
loop=
timeout 60 umount "$(grep -oE " $root/run/remapfs/[^ ]* fuse\.remapfs" /proc/mounts | cut -d' ' -f2)"
for ((i = 0; i < 300; ++i)); do
  kill -0 "$daemon" 2> /dev/null || break
  sleep 0.1
done
[ "$i" -lt 300 ] || fail "the daemon does not end"
in_root apt-get -q install -y --no-install-recommends "/tmp/${main##*/}" > "$work/apt.log" 2>&1 || fail "installed again"
in_root remapfs check $map
loop=$(in_root remapfs attach $map | tail -n 1)
in_root fsck.ext4 -fn "$loop" > "$work/fsck.log" 2>&1 || { cat "$work/fsck.log" && fail "fsck"; }
in_root remapfs detach $map
loop=

step "purged, nothing is left"
in_root apt-get -q purge -y remapfs faulty-disk > "$work/apt.log" 2>&1 || fail "purge"
in_root apt-get -q autoremove --purge -y > /dev/null 2>&1
left=$(diff <(echo "$before") <(listing "$root") | grep '^>' | grep -iE 'remapfs|faulty|systemd/|udev' | grep -vE ' \./var/(lib/(apt|dpkg)|log)/' || true)
[ -z "$left" ] || fail "left behind: $left"
[ -z "$(ls -A "$root/run/remapfs" "$root/run/faulty-disk" 2> /dev/null)" ] || fail "left in /run: $(ls -RA "$root/run/remapfs" "$root/run/faulty-disk")"
[ ! -e "$root/run/remapfs" ] || fail "left: /run/remapfs"
[ -f "$work/disks/busy.map" ] && [ -f "$work/disks/spare" ] || fail "a purge touched a volume"
