#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# full_test.sh: blocks die under a verified load until the spare is full; the load waits for nobody, gets an error, and is
# right again once one more spare is there; the warning came before.
source "$(dirname "$0")/../lib.sh"

make_faulty_disk 128M
spare_size=4M
make_volume "$disk"
slots=$(status_of spare.slots_total)
attach
write_all() {
  timeout 200 fio --name=fill --filename="$loop" --rw=write --bs=64k --iodepth=4 --ioengine=libaio --direct=1 --size=100% \
    --do_verify=0 --verify=crc32c --output="$work/fio.log" "$@"
}
cd "$work"
write_all || fail "a good disk"
# Three times as many blocks die as there are slots; what cannot be moved is refused, never lost in silence.
faulty_disk set "$work/failing" "count=$((slots * 3)),seed=$seed,op=write" > /dev/null
if write_all; then fail "a full spare refuses nothing"; fi
[ "$(status_of spare.slots_free)" = 0 ] || fail "$(status_of spare.slots_free) slots are free"
[ "$(status_of state)" = degraded ] || fail "state $(status_of state)"
remapfs events "$map" > "$work/events"
grep -q 'spare-low .*add a spare' "$work/events" || fail "no warning before"
# One more, without a pause.
remapfs spare "$map" add "$work/more.img" --size 64M
write_all || fail "with one more spare: $(tail -n 5 "$work/fio.log")"
timeout 200 fio --name=fill --filename="$loop" --rw=read --bs=64k --iodepth=4 --ioengine=libaio --direct=1 --size=100% \
  --verify=crc32c --verify_fatal=1 --output="$work/fio.log" || fail "contents: $(tail -n 5 "$work/fio.log")"
remapped=$(status_of remapped_blocks)
[ "$remapped" -gt "$slots" ] || fail "only $remapped blocks moved"
[ "$(status_of state)" = healthy ] || fail "state $(status_of state): $(status_of reasons)"
echo "$remapped blocks moved, $slots of them before one more spare came"
# The loop device remembers the writes that were refused, and tells them to whoever takes it down.
if remapfs detach "$map" 2> "$work/detach.log"; then fail "detach forgot the writes that were refused"; fi
grep -q 'what was written last is not stored' "$work/detach.log" || fail "$(cat "$work/detach.log")"
remapfs check "$map" > /dev/null || fail "check"
