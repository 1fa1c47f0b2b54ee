#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# units_test.sh SOURCE_DIR BUILD_DIR REMAPFS: systemd finds the units sound, whoever waits for a file system waits for them,
# nothing hides the mount, and what runs by a timer runs when it should.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
need systemd-analyze
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
# The program is where it was built; all else is what is installed.
for unit in remapfs@.service remapfs-attach@.service remapfs-metrics.service remapfs-metrics.timer remapfs-scrub@.service \
  remapfs-scrub@.timer; do
  sed -E "s,([=(])[^ (=]*/bin/remapfs( |$),\\1$3\\2,g" "$2/packaging/$unit" > "$units/$unit"
done
cat > "$units/srv-files.mount" << 'END'
[Mount]
What=/dev/remapfs/old
Where=/srv/files
[Unit]
Requires=remapfs-attach@srv-my\x2dmap.service
After=remapfs-attach@srv-my\x2dmap.service
Before=local-fs.target
END
verify() { SYSTEMD_UNIT_PATH=$units: systemd-analyze verify --man=no "$@" 2>&1; }

for unit in 'remapfs@srv-my\x2dmap.service' 'remapfs-attach@srv-my\x2dmap.service' srv-files.mount remapfs-metrics.service \
  remapfs-metrics.timer 'remapfs-scrub@srv-my\x2dmap.service' 'remapfs-scrub@srv-my\x2dmap.timer'; do
  said=$(verify "$unit") || fail "$unit: $said"
  [ -z "$said" ] || fail "$unit: $said"
done
# It would have said so.
sed 's/^Type=notify/Type=notfy/' "$units/remapfs@.service" > "$units/wrong@.service"
verify wrong@x.service | grep -q 'Failed to parse service type' || fail "systemd-analyze verify finds nothing at all"
sed 's/^OnCalendar=.*/OnCalendar=mothly/' "$units/remapfs-scrub@.timer" > "$units/wrong@.timer"
said=$(verify wrong@x.timer || true)
grep -q 'Failed to parse calendar specification' <<< "$said" || fail "systemd-analyze verify reads no timers: $said"

text=$(cat "$units/remapfs@.service")
hiding='^(Protect(System|Home|KernelTunables|KernelLogs|KernelModules|ControlGroups|Proc|Clock)|Private(Tmp|Devices|Mounts|Users)|ProcSubset|Read(Write|Only)Paths|InaccessiblePaths|TemporaryFileSystem|Bind(ReadOnly)?Paths|RootDirectory|RootImage|DynamicUser|MountFlags|DevicePolicy|DeviceAllow)='
if grep -E "$hiding" <<< "$text"; then fail "the mount, or the disk, would be hidden"; fi
# Those that only look may have a view of their own, as long as every mount is in it.
for unit in remapfs-metrics.service remapfs-scrub@.service; do
  if grep -v '^ProtectSystem=full$' "$units/$unit" | grep -E "$hiding"; then fail "$unit would not see every mount"; fi
done
for line in Type=notify WatchdogSec= SendSIGKILL=no KillMode=process 'RequiresMountsFor=%f' DefaultDependencies=no 'ExecReload=.*HUP'; do
  grep -qE "^$line" <<< "$text" || fail "remapfs@.service lacks $line"
done

calls_made() { sed -E 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/;t;d' | sort -u; }
calls_of() { # GROUP: every system call in it, and in the groups in it
  local name
  systemd-analyze syscall-filter "$1" | sed -nE 's/^ +(@?[a-z0-9_-]+)$/\1/p' | while read -r name; do
    if [[ $name = @* ]]; then calls_of "$name"; else echo "$name"; fi
  done
}
# What a line of a unit does, run as systemd would: condition UNIT, started UNIT.
line_of() { sed -n "s/^$2=//p" "$units/$1" | sed -e 's/\$\$/$/g; s/%%/%/g' -e "s,%f,$work/map,g"; }
as_unit() { FILE=$work/folder/remapfs.prom timeout 60 strace -f -qq -o "$work/trace.$1.$2" sh -c "$(line_of "$1" "$2")"; }
condition() { as_unit "$1" ExecCondition 2> "$work/said"; }
started() { as_unit "$1" ExecStart; }
figures_and_scrubs() {
  local status=0
  condition remapfs-metrics.service || status=$?
  [ "$status" = 1 ] || fail "figures would be written where nobody reads them: $status"
  mkdir "$work/folder"
  condition remapfs-metrics.service || fail "figures would not be written: $(cat "$work/said")"
  started remapfs-metrics.service || fail "figures are not written"
  grep -q '^remapfs_mounted{.*} 1$' "$work/folder/remapfs.prom" || fail "the volume is not in its figures"
  condition remapfs-scrub@.service || fail "a mounted volume would not be scrubbed: $(cat "$work/said")"
  started remapfs-scrub@.service > /dev/null || fail "no scrub is begun"
}

# The system calls that it may not make are none that serving a volume makes.
if command -v strace > /dev/null; then
  work=$(mktemp -d)
  trap 'umount "$work/mnt" 2> /dev/null || true; rm -rf "$units" "$work"' EXIT
  mkdir "$work/mnt"
  truncate -s 16M "$work/primary"
  "$3" create "$work/map" --primary "$work/primary" --spare "$work/spare" --spare-size 4M > /dev/null
  strace -f -qq -o "$work/trace" "$3" mount -f "$work/map" "$work/mnt" 2> "$work/log" &
  for ((i = 0; i < 200; ++i)); do
    if mountpoint -q "$work/mnt" && [ -e "$work/mnt/disk" ]; then break; fi
    sleep 0.1
  done
  timeout 30 dd if=/dev/zero of="$work/mnt/disk" bs=1M count=4 oflag=direct conv=notrunc,fsync status=none
  timeout 30 dd if="$work/mnt/disk" of=/dev/null bs=1M iflag=direct status=none
  figures_and_scrubs
  timeout 60 "$3" unmount "$work/map"
  wait
  made=$(calls_made < "$work/trace")
  [ "$(wc -l <<< "$made")" -gt 20 ] || fail "strace saw next to nothing: $made"
  read -ra groups <<< "$(sed -n 's/^SystemCallFilter=~//p' <<< "$text")"
  refused=$(systemd-analyze syscall-filter "${groups[@]}" | sed -nE 's/^ +([a-z0-9_]+)$/\1/p' | sort -u)
  [ "$(wc -l <<< "$refused")" -gt 20 ] || fail "systemd-analyze lists next to nothing: $refused"
  both=$(comm -12 <(echo "$made") <(echo "$refused"))
  [ -z "$both" ] || fail "the unit refuses what the daemon does: $both"
  status=0
  condition remapfs-scrub@.service || status=$?
  [ "$status" = 1 ] || fail "a volume that is not mounted would be scrubbed, or be a failure: $status"
  for unit in remapfs-metrics.service remapfs-scrub@.service; do
    made=$(cat "$work/trace.$unit".* | calls_made)
    [ "$(wc -l <<< "$made")" -gt 20 ] || fail "strace saw next to nothing: $made"
    granted=$({ calls_of "$(sed -n 's/^SystemCallFilter=//p' "$units/$unit")" && calls_of @default; } | sort -u)
    beyond=$(comm -23 <(echo "$made") <(echo "$granted"))
    [ -z "$beyond" ] || fail "$unit refuses what it does: $beyond"
  done
  rm "$work/map"
  condition remapfs-scrub@.service && fail "a map that is not there would be scrubbed"
  [ $? = 255 ] || fail "a map that is not there is no failure of its scrub"
else
  fail "strace is not here: run tools/install-dependencies --test"
fi
