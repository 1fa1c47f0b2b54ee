#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# demo_test.sh SOURCE_DIR BUILD_DIR: the demonstration works, and leaves nothing behind wherever Ctrl-C meets it.
set -euo pipefail
demo=("$1/tools/demo" --build-dir "$2")
log=$(mktemp /tmp/demo-test.XXXXXX)
trap 'rm -f "$log"' EXIT
seed=${REMAPFS_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
echo "replay with REMAPFS_TEST_SEED=$seed"
RANDOM=$seed

fail() {
  echo "FAILED: $*" >&2
  cat "$log" >&2
  exit 1
}

left_behind() {
  grep remapfs-demo /proc/mounts || true
  losetup -l -n -O NAME,BACK-FILE | grep remapfs-demo || true
  compgen -G '/var/tmp/remapfs-demo.*' || true
  pgrep -af '/remapfs-demo[.]' || true
}
[ -z "$(left_behind)" ] || fail "there was a demo before: $(left_behind)"

start=$(date +%s%N)
timeout 120 "${demo[@]}" > "$log" 2>&1 || fail "the demo failed"
took=$((($(date +%s%N) - start) / 1000000))
grep -q 'files, every one right' "$log" || fail "the demo proved nothing"
[ -z "$(left_behind)" ] || fail "left behind: $(left_behind)"

set -m # a process group of its own, as a terminal gives it
rounds=8
for ((i = 0; i < rounds; ++i)); do
  # Somewhere in each eighth of its time.
  delay=$((took * (i * 1000 + RANDOM % 1000) / (rounds * 1000)))
  "${demo[@]}" > "$log" 2>&1 &
  group=$!
  sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
  kill -INT -- "-$group" 2> /dev/null || true
  status=0
  wait "$group" || status=$?
  case $status in
    0 | 130) ;;
    *) fail "Ctrl-C after $delay ms of $took ended it with $status" ;;
  esac
  [ -z "$(left_behind)" ] || fail "Ctrl-C after $delay ms of $took left behind: $(left_behind)"
done
# And once while it is cleaning up.
"${demo[@]}" > "$log" 2>&1 &
group=$!
until grep -q 'Cleaning up' "$log"; do sleep 0.01; done
kill -INT -- "-$group" 2> /dev/null || true
wait "$group" || true
[ -z "$(left_behind)" ] || fail "Ctrl-C while it cleaned up left behind: $(left_behind)"
echo "the demo took $took ms; $rounds interruptions left nothing"
