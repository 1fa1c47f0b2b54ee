#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# units_test.sh SOURCE_DIR BUILD_DIR REMAPFS: systemd finds the units sound, whoever waits for a file system waits for them,
# and nothing hides the mount. That they start and stop needs systemd as process 1, which a test machine has not.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
need systemd-analyze
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
# The program is where it was built; all else is what is installed.
for unit in remapfs@.service remapfs-attach@.service; do
  sed -E "s,=[^ ]*/bin/remapfs ,=$3 ," "$2/packaging/$unit" > "$units/$unit"
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

for unit in 'remapfs@srv-my\x2dmap.service' 'remapfs-attach@srv-my\x2dmap.service' srv-files.mount; do
  said=$(verify "$unit") || fail "$unit: $said"
  [ -z "$said" ] || fail "$unit: $said"
done
# It would have said so.
sed 's/^Type=notify/Type=notfy/' "$units/remapfs@.service" > "$units/wrong@.service"
verify wrong@x.service | grep -q 'Failed to parse service type' || fail "systemd-analyze verify finds nothing at all"

text=$(cat "$units/remapfs@.service")
hiding='^(Protect(System|Home|KernelTunables|KernelLogs|KernelModules|ControlGroups|Proc|Clock)|Private(Tmp|Devices|Mounts|Users)|ProcSubset|Read(Write|Only)Paths|InaccessiblePaths|TemporaryFileSystem|Bind(ReadOnly)?Paths|RootDirectory|RootImage|DynamicUser|MountFlags|DevicePolicy|DeviceAllow)='
if grep -E "$hiding" <<< "$text"; then fail "the mount, or the disk, would be hidden"; fi
for line in Type=notify WatchdogSec= SendSIGKILL=no 'RequiresMountsFor=%f' DefaultDependencies=no 'ExecReload=.*HUP'; do
  grep -qE "^$line" <<< "$text" || fail "remapfs@.service lacks $line"
done

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
  timeout 60 "$3" unmount "$work/map"
  wait
  made=$(sed -E 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/;t;d' "$work/trace" | sort -u)
  [ "$(wc -l <<< "$made")" -gt 20 ] || fail "strace saw next to nothing: $made"
  read -ra groups <<< "$(sed -n 's/^SystemCallFilter=~//p' <<< "$text")"
  refused=$(systemd-analyze syscall-filter "${groups[@]}" | sed -nE 's/^ +([a-z0-9_]+)$/\1/p' | sort -u)
  [ "$(wc -l <<< "$refused")" -gt 20 ] || fail "systemd-analyze lists next to nothing: $refused"
  both=$(comm -12 <(echo "$made") <(echo "$refused"))
  [ -z "$both" ] || fail "the unit refuses what the daemon does: $both"
else
  fail "strace is not here: run tools/install-dependencies --test"
fi
