#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Waits for the end of its input, then undoes what a test left: clean_up.sh DIRECTORY REMAPFS FAULTY-DISK <PIPE
# Mounts and loop devices are recognised by the directory in their paths, so that nothing of anybody else is touched.
cat >/dev/null
dir=$1
remapfs=$2
faulty_disk=$3
mounted() { grep -q " $dir/$1 " /proc/self/mounts; }

# They hold what is below and above them. A device that a volume still uses goes with it.
timeout 10 losetup --noheadings --output NAME,BACK-FILE | while read -r loop file; do
  case $file in "$dir"/*) timeout 10 losetup --detach "$loop" ;; esac
done
if mounted volume; then
  timeout 20 "$remapfs" unmount --force "$dir/volume.map" || timeout 20 umount -l "$dir/volume"
fi
for disk in primary spare; do
  mounted $disk || continue
  # A daemon that is still on its way out holds the disk for a moment.
  tries=0
  while mounted $disk && [ $tries -lt 50 ]; do
    timeout 10 "$faulty_disk" unmount "$dir/$disk" || sleep 0.1
    tries=$((tries + 1))
  done
  if mounted $disk; then umount -l "$dir/$disk"; fi
done
rm -rf --one-file-system "$dir"
