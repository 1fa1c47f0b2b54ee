#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# symlinks_test.sh: in a directory of somebody who puts symbolic links in the way of everything that root writes there,
# nothing behind them is written, made, or given away.
source "$(dirname "$0")/../lib.sh"

truncate -s 16M "$work/primary.img"
spare_size=4M
make_volume "$work/primary.img"
theirs=$work/theirs
mkdir "$theirs"
chmod 755 "$work"
chown nobody "$theirs"
echo "not to be touched" > "$work/victim"
chmod 600 "$work/victim"
before=$(stat -c '%i %a %u %s %Y' "$work/victim")
rounds=${REMAPFS_TEST_SOAK:-0}
rounds=$((rounds ? 400 : 60))

# The names that root uses lead to the victim, to what is not there, or nowhere, in turn, as fast as it goes.
attacker=
# shellcheck disable=SC2016
attack() {
  setpriv --reuid=nobody --clear-groups bash -c '
    cd "$1" && shift
    while :; do
      for name; do
        rm -rf -- "$name"; ln -sfn "$OLDPWD/victim" "$name" 2> /dev/null
        rm -rf -- "$name"; ln -sfn "$OLDPWD/made" "$name" 2> /dev/null
      done
    done' attacker "$theirs" "$@" 2> /dev/null &
  attacker=$!
}
extra_clean_up() { [ -z "$attacker" ] || kill "$attacker" 2> /dev/null; }

unharmed() {
  [ "$(stat -c '%i %a %u %s %Y' "$work/victim")" = "$before" ] || fail "$1: the victim is $(stat -c '%i %a %u %s %Y' "$work/victim")"
  [ "$(cat "$work/victim")" = "not to be touched" ] || fail "$1: the victim has other contents"
  [ ! -e "$work/made" ] || fail "$1: made through a link"
}

cd "$work"
attack out map spare
done=0
refused=0
try() {
  if remapfs "$@" > /dev/null 2> "$work/words"; then done=$((done + 1)); else refused=$((refused + 1)); fi
  [ "$(wc -l < "$work/words")" -le 2 ] || fail "$*: $(cat "$work/words")"
  unharmed "$*"
}
for _ in $(seq "$rounds"); do
  try backup "$map" "$theirs/out"
  try export "$map" --format csv "$theirs/out"
  try report "$map" -o "$theirs/out"
  try create "$theirs/map" --primary "$work/other.img" --spare "$work/other.spare" --spare-size 4M
  truncate -s 4M "$work/other.img"
  try create "$work/other.map" --primary "$work/other.img" --spare "$theirs/spare" --spare-size 4M
  try recover "$theirs/map" --primary "$work/primary.img" --spare "$work/spare.img"
  rm -f "$work"/other.*
done
kill "$attacker"
wait "$attacker" 2> /dev/null || true
echo "$done written, $refused refused, in $rounds rounds"
[ "$done" -ge 1 ] || fail "nothing was ever written: the test shows nothing"

# Links that stay are not followed either, but the name is taken from them.
for link in "$work/victim" "$work/made"; do
  for verb in "backup $map" "export $map --format csv" "report $map -o"; do
    ln -sfn "$link" "$theirs/out"
    # shellcheck disable=SC2086
    try $verb "$theirs/out"
  done
  ln -sfn "$link" "$theirs/map"
  refused "a map by a link" "exists" remapfs recover "$theirs/map" --primary "$work/primary.img" --spare "$work/spare.img"
  unharmed "recover"
done
