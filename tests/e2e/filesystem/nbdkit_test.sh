#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The main job on a disk that was not written here: nbdkit with bad sectors, exposed by nbdfuse.
. "$(dirname "$0")/../lib.sh"
mkdir "$work/nbd"
touch "$work/nbd/disk"
nbdkit_pid=
extra_clean_up() {
  mountpoint -q "$work/nbd/disk" && timeout 20 fusermount3 -u "$work/nbd/disk"
  [ -z "$nbdkit_pid" ] || kill "$nbdkit_pid" 2> /dev/null
}

truncate -s 300M "$work/nbd.img"
# The evil of this disk: writes to 16 stretches fail for as long as a file is there.
cat > "$work/plugin.py" << END
import errno, os
import nbdkit

API_VERSION = 2
image = os.open("$work/nbd.img", os.O_RDWR)


def bad(offset, length):
    """Does it touch the first 60 of each 40000 sectors?"""
    return any(sector % 40000 < 60 for sector in range(offset // 512, (offset + length - 1) // 512 + 1))


def thread_model():
    return nbdkit.THREAD_MODEL_PARALLEL


def open(readonly):
    return 1


def get_size(handle):
    return os.fstat(image).st_size


def can_zero(handle):
    return False


def pread(handle, buffer, offset, flags):
    if os.preadv(image, [buffer], offset) != len(buffer):
        raise EOFError


def pwrite(handle, buffer, offset, flags):
    if os.path.exists("$work/dying") and bad(offset, len(buffer)):
        nbdkit.set_error(errno.EIO)
        raise OSError(errno.EIO, "bad sector")
    if os.pwrite(image, buffer, offset) != len(buffer):
        raise EOFError


def flush(handle, flags):
    pass
END
nbdkit -f -U "$work/nbd.sock" python "$work/plugin.py" > "$work/nbdkit.log" 2>&1 &
nbdkit_pid=$!
for _ in $(seq 100); do [ -S "$work/nbd.sock" ] && break || sleep 0.1; done
nbdfuse "$work/nbd/disk" --unix "$work/nbd.sock" > "$work/nbdfuse.log" 2>&1 &
for _ in $(seq 100); do mountpoint -q "$work/nbd/disk" && break || sleep 0.1; done
mountpoint -q "$work/nbd/disk" || fail "nbdfuse did not mount: $(cat "$work/nbdfuse.log")"

make_volume "$work/nbd/disk"
attach
start_reader
make_filesystem ext4
mount "$loop" "$files"
touch "$work/dying"
mkdir "$files/tree"
tar -C /usr/include -cf - linux c++ 2> /dev/null | tar -C "$files/tree" -xf -
sync
checksum "$work/sums"
# Where ext4 puts its files is its own business: a full disk has written every stretch.
piece=0
while dd if=/dev/zero of="$files/fill.$piece" bs=1M count=16 conv=fsync status=none 2> "$work/full"; do
  piece=$((piece + 1))
  [ "$piece" -lt 50 ] || fail "the disk did not fill up"
done
grep -q 'No space left' "$work/full" || fail "filling the disk: $(cat "$work/full")"
sync
rm "$files"/fill.*
sync
remapped=$(status_of remapped_blocks)
[ "$remapped" -ge 60 ] || fail "only $remapped blocks were remapped"
check_commits 5
come_back ext4 "a file is not what was written"
check_reader
umount "$files"
detach
echo "nbdkit: $(wc -l < "$work/sums") files right, $remapped blocks remapped"
