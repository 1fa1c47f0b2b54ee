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
# The evil of this disk: writes to two stretches fail for as long as the file is there.
cat > "$work/plugin.sh" << 'END'
#!/usr/bin/env bash
image=$(dirname "$0")/nbd.img
bad() { # offset length: does it touch sectors 400000-400049 or 150000-150449?
  [ -e "$(dirname "$0")/dying" ] || return 1
  local end=$(($2 + $1))
  { [ "$1" -lt $((400050 * 512)) ] && [ "$end" -gt $((400000 * 512)) ]; } ||
    { [ "$1" -lt $((150450 * 512)) ] && [ "$end" -gt $((150000 * 512)) ]; }
}
case $1 in
  get_size) stat -c %s "$image" ;;
  can_write | can_flush) exit 0 ;;
  can_zero | can_trim) exit 3 ;;
  can_fua) echo none ;;
  thread_model) echo parallel ;;
  pread) dd if="$image" bs=64K iflag=skip_bytes,count_bytes skip="$4" count="$3" status=none ;;
  pwrite)
    if bad "$4" "$3"; then echo "EIO bad sector" >&2 && exit 1; fi
    dd of="$image" bs=64K oflag=seek_bytes seek="$4" conv=notrunc status=none
    ;;
  flush) exit 0 ;;
  *) exit 2 ;;
esac
END
chmod +x "$work/plugin.sh"
nbdkit -f -U "$work/nbd.sock" sh "$work/plugin.sh" > "$work/nbdkit.log" 2>&1 &
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
# Where ext4 puts its files is its own business: a full disk has written both stretches.
dd if=/dev/zero of="$files/fill" bs=1M status=none 2> "$work/full" && fail "the disk did not fill up"
grep -q 'No space left' "$work/full" || fail "filling the disk: $(cat "$work/full")"
sync
rm "$files/fill"
sync
remapped=$(status_of remapped_blocks)
[ "$remapped" -ge 10 ] || fail "only $remapped blocks were remapped"
check_commits 5
come_back ext4 "a file is not what was written"
check_reader
umount "$files"
detach
echo "nbdkit: $(wc -l < "$work/sums") files right, $remapped blocks remapped"
