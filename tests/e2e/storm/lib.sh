# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What storms have in common: blocks that die in waves while a load runs, so many in all.
. "$(dirname "$0")/../lib.sh"
soak=${REMAPFS_TEST_SOAK:-0}
# shellcheck disable=SC2034
total=$((soak == 1 ? 10000 : 1500))
# shellcheck disable=SC2034
spare_size=160M # for blocks that die, and as many that are weak
waves=20
weather=
end_storm() {
  [ -z "$weather" ] || kill "$weather" 2> /dev/null
  wait
}
extra_clean_up() { end_storm; }

# verified_fio MEGABYTES DEPTH: in $job, writes to the whole loop device that read back what they wrote.
verified_fio() {
  job=(fio --name=storm "--filename=$loop" --rw=randwrite --bs=4k --direct=1 --ioengine=libaio "--iodepth=$2" --verify=crc32c
    --verify_backlog=512 --verify_state_save=0 "--size=${1}m" --output-format=terse)
}

# start_storm MEGABYTES COUNT PAUSE: the disk of that size gets a wave of deaths in another part of it every PAUSE
# seconds, until at least COUNT of its blocks refuse writes. As many others can be read at the third try only.
start_storm() {
  local sectors=$(($1 * 2048 / waves)) each=$(($2 * 107 / 100 / waves + 1)) pause=$3
  (
    for ((wave = 0; wave < waves; ++wave)); do
      # Waves come from everywhere, not from the front to the back.
      local place=$((wave * 7 % waves))
      local within=$((place * sectors))-$(((place + 1) * sectors - 1))
      faulty_disk set "$work/failing" "count=$each,seed=$((seed + wave)),op=write,within=$within" \
        "count=$each,seed=$((seed + 100 + wave)),op=read,mode=times:2,within=$within" >> "$work/storm.log" 2>&1 || exit 1
      sleep "$pause"
    done
  ) &
  weather=$!
}

wait_for_storm() {
  wait "$weather" || fail "the storm: $(tail -n 3 "$work/storm.log")"
  weather=
}
