#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Waits for the end of its input, then undoes what a test left: clean_up.sh DIRECTORY FAULTY-DISK <PIPE
# Loop devices and mounts are recognised by the directory in their paths, so that nothing of anybody else is touched.
cat >/dev/null
dir=$1
program=$2
mounted() { grep -q " $1 " /proc/self/mounts; }

if mounted "$dir/mnt"; then
  timeout 10 "$program" gone "$dir/mnt" off
  timeout 10 "$program" clear "$dir/mnt" all
fi
if mounted "$dir/fs"; then timeout 60 umount "$dir/fs" || umount -l "$dir/fs"; fi
for backing in /sys/block/loop*/loop/backing_file; do
  case "$(cat "$backing" 2>/dev/null)" in
    "$dir"/*)
      loop=${backing#/sys/block/}
      timeout 60 losetup -d "/dev/${loop%%/*}"
      ;;
  esac
done
tries=0
while mounted "$dir/mnt" && [ $tries -lt 50 ]; do
  timeout 10 "$program" unmount "$dir/mnt" || sleep 0.1
  tries=$((tries + 1))
done
if mounted "$dir/mnt"; then umount -l "$dir/mnt"; fi
rm -rf --one-file-system "$dir"
