#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# memory_test.sh ext4|xfs|btrfs: daemon, file system, fio and a glutton share a memory cgroup with hardly any room beside
# the daemon, and blocks die meanwhile. Dirty pages can only be freed through the daemon: one that needs memory for that
# waits for itself. Everything ends in time, and every byte is right.
. "$(dirname "$0")/../lib.sh"
fs=$1
soak=${REMAPFS_TEST_SOAK:-0}
megabytes=$((soak == 1 ? 700 : 400))
group=

make_group() {
  if [ -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
    group=/sys/fs/cgroup/memory/remapfs-test-$$
    mkdir "$group"
    limit_file=$group/memory.limit_in_bytes
  else
    local root
    root=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
    if ! grep -qw memory "${root:-/none}/cgroup.controllers" 2> /dev/null; then
      echo "skipped: there is neither a memory cgroup of version 1 nor one of version 2"
      exit 77
    fi
    echo +memory > "$root/cgroup.subtree_control"
    group=$root/remapfs-test-$$
    mkdir "$group"
    limit_file=$group/memory.max
  fi
}
# How often the limit was met.
pressure() {
  if [ -e "$group/memory.failcnt" ]; then cat "$group/memory.failcnt"; else sed -n 's/^max //p' "$group/memory.events"; fi
}
resident_kib() { awk '/^VmRSS:/ {print $2}' "/proc/$1/status"; }
glutton=
relief=
relax() { echo -1 > "$limit_file" 2> /dev/null || echo max > "$limit_file"; }
extra_clean_up() {
  for process in $glutton $relief; do kill "$process" 2> /dev/null; done
  wait
  [ -z "$group" ] || for _ in 1 2 3 4 5; do rmdir "$group" 2> /dev/null && break || sleep 0.5; done
}

make_group
in_group=(sh -c 'echo $$ > "$0" && exec "$@"' "$group/cgroup.procs")
make_faulty_disk 1G
make_volume "$disk"
loop=$("${in_group[@]}" timeout 120 "$REMAPFS" attach "$map" "$work/volume" | tail -n 1)
worker=$(status_of worker_pid)
keeper=$(status_of daemon_pid)
grep -qx "$worker" "$group/cgroup.procs" || fail "the daemon is not in the group"
status_of 'hardening[]'
"${in_group[@]}" timeout 120 "mkfs.$fs" -q "$loop"
mount "$loop" "$files"

room=48
limit=$((($(resident_kib "$worker") + $(resident_kib "$keeper")) / 1024 + room))
echo "$((limit))M" > "$limit_file"
echo "$fs: $limit MiB for all, the daemon has $(resident_kib "$worker") KiB resident"
faulty_disk set "$work/failing" "count=400,seed=$seed,op=write" > /dev/null
"${in_group[@]}" stress-ng --quiet --vm 1 --vm-bytes $((room / 2))M --vm-keep --oomable --temp-path /var/tmp --timeout 600 > "$work/stress.log" 2>&1 &
glutton=$!
# A test that fails is to end all the same: what waits for memory cannot even be killed.
(exec {nothing}<> <(:) && ! read -r -t 330 -u "$nothing" && relax) > /dev/null 2>&1 &
relief=$!

# Buffered: what it writes is dirty memory of the group, several times its limit.
job=(fio --name=pressure "--directory=$files" "--size=${megabytes}m" --rw=randwrite --bs=16k --ioengine=psync --fallocate=none
  --verify=crc32c --verify_state_save=0 "--randseed=$seed" --fsync=256 --output-format=terse)
"${in_group[@]}" timeout 300 "${job[@]}" --do_verify=1 > "$work/fio.log" 2>&1 || fail "fio under pressure: exit code $?: $(tail -n 5 "$work/fio.log")"
kill -0 "$glutton" || fail "the glutton did not last: $(tail -n 3 "$work/stress.log")"
met=$(pressure)
[ "$met" -gt 100 ] || fail "the limit was met $met times: there was no pressure"
[ "$(status_of worker_pid)" = "$worker" ] || fail "the process that serves was replaced"
moved=$(status_of remapped_blocks)
[ "$moved" -gt 0 ] || fail "no block was moved: the faults did not meet the writes"
[ "$(status_of lost_sectors)" = 0 ] || fail "write errors lost sectors"
kill "$glutton" "$relief"
wait || true
glutton=
relief=
relax

timeout 120 umount "$files"
detach
attach
check_filesystem "$fs"
mount "$loop" "$files"
timeout 300 "${job[@]}" --verify_only > "$work/fio.log" 2>&1 || fail "after a remount: $(tail -n 5 "$work/fio.log")"
umount "$files"
detach
echo "$fs: $megabytes MiB right, the limit met $met times, $moved blocks moved"
