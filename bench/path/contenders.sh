# SPDX-License-Identifier: Apache-2.0
# The contenders of the path benchmark, to be sourced. Each has
#   up_NAME    makes it ready and sets $target, the file or device to be measured
#   down_NAME  takes it away again
# Uses: $work (a folder on the file system to be measured), $remapfs, $noop_server, $bytes (of the disk).
# All of them that have a disk below have the same one: $work/primary.

wait_for() { # path
  local i
  for i in $(seq 100); do
    [ -e "$1" ] && return 0
    sleep 0.05
  done
  echo "bench: $1 did not appear" >&2
  return 1
}

up_raw() { target=$work/primary; }
down_raw() { :; }

up_virtual() { "$remapfs" mount "$work/map" "$work/mnt" && target=$work/mnt/disk; }
down_virtual() { "$remapfs" unmount "$work/map"; }

up_virtual_blocking() { "$remapfs" mount "$work/map" "$work/mnt" -o engine=blocking && target=$work/mnt/disk; }
down_virtual_blocking() { down_virtual; }

attach_loop() { # file
  local sector
  sector=$(blockdev --getss "$(findmnt -n -o SOURCE --target "$work")" 2> /dev/null || echo 512)
  target=$(losetup --find --show --direct-io=on --sector-size "$sector" "$1")
}
up_loop_raw() { attach_loop "$work/primary"; }
down_loop_raw() { losetup --detach "$target"; }

up_loop_virtual() { up_virtual && attach_loop "$work/mnt/disk"; }
down_loop_virtual() {
  losetup --detach "$target"
  local i
  for i in $(seq 50); do
    down_virtual 2> /dev/null && return 0
    sleep 0.1
  done
  down_virtual
}

up_noop() {
  "$noop_server" "$work/mnt" "$bytes" 2 &
  server=$!
  target=$work/mnt/disk
  wait_for "$target"
}
down_noop() { umount "$work/mnt" && wait "$server"; }

# A file that $server mounts itself over: it is there when it has the size of the disk.
wait_for_export() {
  target=$work/export
  local i
  for i in $(seq 100); do
    [ "$(stat -c %s "$target")" = "$bytes" ] && return 0
    sleep 0.05
  done
  echo "bench: $target did not become the disk" >&2
  return 1
}

needs_qemu() { command -v qemu-storage-daemon > /dev/null || echo "qemu-storage-daemon (Debian: qemu-system-common)"; }
up_qemu() {
  : > "$work/export"
  qemu-storage-daemon --blockdev "driver=file,node-name=f,filename=$work/primary,cache.direct=on,aio=io_uring" \
    --export "type=fuse,id=e,node-name=f,mountpoint=$work/export,writable=on" &
  server=$!
  wait_for_export
}
down_qemu() { kill "$server" && wait "$server" || true; }

needs_nbdfuse() { command -v nbdfuse > /dev/null || echo "nbdfuse (Debian: libnbd-bin)"; }
up_nbdfuse() {
  : > "$work/export"
  nbdfuse "$work/export" [ nbdkit --exit-with-parent file "$work/primary" ] &
  server=$!
  wait_for_export
}
down_nbdfuse() { umount "$work/export" && wait "$server" || true; }
