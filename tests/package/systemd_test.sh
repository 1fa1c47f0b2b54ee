#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# systemd_test.sh SOURCE_DIR BUILD_DIR REMAPFS: the units under systemd itself, as process 1 of namespaces of its own over
# a copy of this machine: a file system on the volume's loop device comes up by its dependencies, lives through the end of
# every process of the service, is not taken away while it is used, and goes in order.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
need systemctl unshare nsenter losetup mkfs.ext4
[ -x /lib/systemd/systemd ] || fail "systemd is not here: run tools/install-dependencies --test"

work=$(mktemp -d /var/tmp/remapfs-systemd.XXXXXX)
root=$work/root
name=${work##*.}
unit=srv-$name.map
volume=remapfs@$unit.service
attach=remapfs-attach@$unit.service
manager=
loops_over_it() { losetup -n -O NAME,BACK-FILE | sed -n "s,^\([^ ]*\) .*/run/remapfs/$unit/disk\$,\1,p"; }
clean_up() {
  status=$?
  trap - EXIT
  set +e
  # With process 1 go all of its namespaces, mounts among them; a loop device is everybody's.
  mapfile -t loops < <(loops_over_it)
  [ -z "$manager" ] || kill -KILL "$manager"
  { wait; } 2> /dev/null
  for loop in "${loops[@]}"; do timeout 60 losetup --detach "$loop"; done
  umount -l "$root" 2> /dev/null
  rm -rf --one-file-system "$work"
  exit "$status"
}
trap clean_up EXIT
step() { echo "== $*"; }

# The machine as it is, with the units of this tree and without any other that would be started.
mkdir "$root" "$work/changes" "$work/aside" "$work/srv"
mount -t overlay -o "lowerdir=/,upperdir=$work/changes,workdir=$work/aside" overlay "$root"
cp "$3" "$root/usr/bin/remapfs"
units=$root/etc/systemd/system
mkdir -p "$units" "$root/srv/files"
for one in remapfs@.service remapfs-attach@.service; do
  sed -E "s,([=(' ])[^ (=']*/bin/remapfs( |$),\1/usr/bin/remapfs\2,g" "$2/packaging/$one" > "$units/$one"
done
cat > "$units/lab.target" << 'END'
[Unit]
DefaultDependencies=no
END
# What fstab makes of its line in remapfs(7), but for the device: no udev runs here that would name it.
cat > "$units/srv-files.mount" << END
[Unit]
Requires=$attach
After=$attach
DefaultDependencies=no
[Mount]
What=/srv/loop
Where=/srv/files
Type=ext4
TimeoutSec=5
END
mkdir "$units/$volume.d"
printf '[Service]\nTimeoutStopSec=3\n' > "$units/$volume.d/impatient.conf"

cat > "$work/init" << 'END'
set -e
root=$1
mount --make-rprivate /
mount --bind "$2" "$root/srv"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
# It manages no devices where it cannot write here.
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
cd "$root"
mkdir -p mnt/machine
pivot_root . mnt/machine
umount -l /mnt/machine
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=lab.target --show-status=0 --log-target=console
END
mkdir -p "$work/srv/files"
unshare --pid --fork --kill-child --mount --cgroup --uts --ipc bash "$work/init" "$root" "$work/srv" > "$work/log" 2>&1 < /dev/null &
manager=$!
await() { # CONDITION
  local i
  for ((i = 0; i < 300; ++i)); do
    if eval "$1"; then return; fi
    sleep 0.1
  done
  tail -n 30 "$work/log" >&2
  inside systemctl status --no-pager "$volume" "$attach" srv-files.mount >&2 || true
  fail "never: $1"
}
first() { pgrep -P "$manager"; }
inside() { timeout 120 nsenter --target "$(first)" --pid --mount --uts --ipc --cgroup -- "$@"; }
property() { inside systemctl show --value -p "$1" "${2:-$volume}"; }
is_active() { [ "$(property ActiveState "$1")" = active ]; }
await 'first > /dev/null && inside systemctl is-active --quiet lab.target 2> /dev/null'

step "the volume, its loop device and the file system on it come up by their dependencies"
truncate -s 96M "$work/srv/primary"
inside remapfs create "/srv/$name.map" --primary /srv/primary --spare /srv/spare --spare-size 8M > /dev/null
inside systemctl start "$attach"
loop=$(loops_over_it)
[ -n "$loop" ] || fail "no loop device: $(losetup)"
ln -s "$loop" "$work/srv/loop"
mkfs.ext4 -q "$loop"
inside systemctl start srv-files.mount
for one in "$volume" "$attach" srv-files.mount; do is_active "$one" || fail "$one is not active"; done

step "whoever uses it sees nothing of the end of the keeper, of the worker, and of all"
inside bash -c 'cd /srv/files; while [ ! -e /srv/enough ]; do
  echo "$RANDOM" > written && sync written && cp written copy && cmp -s written copy || { echo failed > /srv/errors; break; }
  echo . >> /srv/rounds
done' &
writer=$!
rounds() { if [ -e "$work/srv/rounds" ]; then wc -l < "$work/srv/rounds"; else echo 0; fi; }
goes_on() { # WHAT: the writer does, and nothing above the volume was stopped
  local before
  before=$(rounds)
  await "[ \"\$(rounds)\" -gt $((before + 5)) ]"
  [ ! -e "$work/srv/errors" ] || fail "$1: an error was seen"
  await "is_active $volume"
  for one in "$attach" srv-files.mount; do
    is_active "$one" || fail "$1: $one was stopped"
    [ "$(property ActiveEnterTimestampMonotonic "$one")" = "${since[$one]}" ] || fail "$1: $one was started again"
  done
  [ "$(inside remapfs status "/srv/$name.map" -J | jq .crash_survival.granted)" = true ] || fail "$1: no longer survivable"
}
declare -A since
for one in "$attach" srv-files.mount; do since[$one]=$(property ActiveEnterTimestampMonotonic "$one"); done
goes_on "nothing yet"
keeper=$(property MainPID)
inside kill -KILL "$keeper"
await '[ "$(property MainPID)" != 0 ] && [ "$(property MainPID)" != "$keeper" ]'
goes_on "the keeper was killed"
inside kill -KILL "$(inside remapfs status "/srv/$name.map" -J | jq .worker_pid)"
goes_on "the worker was killed"
restarts=$(property NRestarts)
inside systemctl kill --kill-who=all -s KILL "$volume"
await '[ "$(property NRestarts)" -gt "$restarts" ]'
goes_on "all were killed"
inside remapfs upgrade "/srv/$name.map" > /dev/null
goes_on "another program took over"

step "a volume in use is not stopped"
inside systemctl stop "$volume" 2> /dev/null || true
before=$(rounds)
await '[ "$(rounds)" -gt "$((before + 5))" ]'
[ ! -e "$work/srv/errors" ] || fail "it was taken away"
[ "$(inside remapfs status "/srv/$name.map" -J | jq .mounted)" = true ] || fail "not mounted any more"
touch "$work/srv/enough"
wait "$writer"
# As remapfs(7) has it: to the manager the service has failed.
inside systemctl stop srv-files.mount
inside remapfs detach "/srv/$name.map"

step "all of it goes in order, and comes again"
inside systemctl start srv-files.mount
inside systemctl stop "$volume"
for one in "$volume" "$attach" srv-files.mount; do
  if is_active "$one"; then fail "$one is still active"; fi
done
[ "$(inside remapfs status "/srv/$name.map" -J | jq .mounted)" = false ] || fail "still mounted"
inside remapfs check "/srv/$name.map" > /dev/null || fail "check finds something"
inside systemctl start srv-files.mount
inside cmp /srv/files/written /srv/files/copy || fail "other contents"
inside systemctl stop "$volume"

step "what the service cannot mount, the loop device's does not mount instead"
mv "$work/srv/primary" "$work/srv/gone"
if inside systemctl start "$attach" 2> /dev/null; then fail "a loop device over nothing"; fi
if inside mountpoint -q "/run/remapfs/$unit"; then fail "mounted all the same"; fi
mv "$work/srv/gone" "$work/srv/primary"
