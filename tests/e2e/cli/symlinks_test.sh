#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# symlinks_test.sh: in a directory of somebody who puts symbolic links in the way of everything that root writes there,
# nothing behind them is written, made, or given away. Every verb that makes a file meets them, and is done all the same
# when they come too late.
source "$(dirname "$0")/../lib.sh"

truncate -s 16M "$work/primary.img"
spare_size=4M
make_volume "$work/primary.img"
theirs=$work/theirs
mkdir "$theirs"
chmod 755 "$work"
chown nobody "$theirs"
# Large enough for a spare, and empty as a map that is to be filled.
head -c 8M /dev/urandom > "$work/victim"
: > "$work/empty"
chmod 600 "$work/victim" "$work/empty"
sum_of_victims() { stat -c '%i %a %u %s %Y' "$work/victim" "$work/empty" && sha256sum < "$work/victim"; }
before=$(sum_of_victims)
rounds=${REMAPFS_TEST_SOAK:-0}
rounds=$((rounds ? 150 : 10))

# The names that root uses are free for a moment, or lead to a victim, or to what is not there; so does every second
# temporary file as soon as it is there, and every second spare.
attacker=
attack() {
  python3 - "$theirs" "$work/victim" "$work/empty" "$work/made" "$@" << 'END' &
import os, pwd, random, sys, threading, time
os.setgroups([])
os.setuid(pwd.getpwnam("nobody").pw_uid)
os.chdir(sys.argv[1])
targets, names = sys.argv[2:5], sys.argv[5:]


def replace_what_is_new():
    known = set()
    while True:
        entries = list(os.scandir("."))
        known &= {entry.inode() for entry in entries}  # a number is used again
        for entry in entries:
            new = entry.name.startswith(".") or ".new-" in entry.name or "spare" in entry.name
            if not new or entry.inode() in known or entry.is_symlink():
                continue
            known.add(entry.inode())
            try:
                if random.random() < 0.5:
                    os.unlink(entry.name)
                    os.symlink(random.choice(targets), entry.name)
            except OSError:
                pass


threading.Thread(target=replace_what_is_new).start()
while True:
    name = random.choice(names)
    try:
        os.unlink(name)
    except OSError:
        pass
    time.sleep(random.random() / 500)
    try:
        if random.random() < 0.5:
            os.symlink(random.choice(targets), name)
    except OSError:
        pass
    time.sleep(random.random() / 500)
    if random.random() < 0.02:
        time.sleep(random.random() / 2)  # or nothing that takes its time would ever be done
END
  attacker=$!
}
first_clean_up() {
  [ -z "$attacker" ] || kill "$attacker" 2> /dev/null
  [ ! -e "$work/served.map" ] || remapfs unmount --force "$work/served.map" > /dev/null 2>&1
}

unharmed() {
  [ "$(sum_of_victims)" = "$before" ] || fail "$1: the victims are $(sum_of_victims)"
  [ ! -e "$work/made" ] || fail "$1: made through a link"
}

# try WHAT COMMAND...: done or refused, with a line or two, and counted; the victims are unharmed.
declare -A times_done=() times_refused=()
try() {
  local what=$1
  shift
  times_done[$what]=$((${times_done[$what]:-0}))
  times_refused[$what]=$((${times_refused[$what]:-0}))
  if remapfs "$@" > /dev/null 2> "$work/words"; then
    times_done[$what]=$((times_done[$what] + 1))
  else
    times_refused[$what]=$((times_refused[$what] + 1))
  fi
  [ "$(wc -l < "$work/words")" -le 2 ] || fail "$*: $(cat "$work/words")"
  unharmed "$*"
}
every_verb_both_ways() {
  local count
  for count in "${times_done[@]}" "${times_refused[@]}"; do [ "$count" -ge 3 ] || return 1; done
}

# For a volume new.map.
new_primary() {
  rm -f "$work"/new.*
  truncate -s 4M "$work/new.img"
}
# new_volume NAME: a small one that nobody else can reach.
new_volume() {
  rm -f "$work/$1".*
  truncate -s 4M "$work/$1.img"
  remapfs create "$work/$1.map" --primary "$work/$1.img" --spare "$work/$1.spare" --spare-size 4M > /dev/null
}
# damaged_map PATH: of a volume that nobody else can reach, with a row less than there was.
damaged_map() {
  new_volume damaged
  remapfs add "$work/damaged.map" 7 > /dev/null
  sqlite3 "$work/damaged.map" 'PRAGMA journal_mode = DELETE; DELETE FROM remaps' > /dev/null
  mv -T "$work/damaged.map" "$1"
}

new_volume served
remapfs mount "$work/served.map" "$work/volume"
served_spares() { remapfs spare "$work/served.map" list -J | jq -r '.spares[1:][].id'; }

# Each verb has a name of its own there.
attack backup export report metrics recover create create-spare spare-add spare-add-mounted \
  repair repair-wal repair-shm repair.damaged
# Chance may need some more rounds, and much more time on a busy machine.
for ((round = 0; round < rounds || SECONDS < 300; ++round)); do
  if [ "$round" -ge "$rounds" ] && every_verb_both_ways; then break; fi
  try backup backup "$map" "$theirs/backup"
  try export export "$map" --format csv "$theirs/export"
  try report report "$map" -o "$theirs/report"
  try metrics metrics "$map" -o "$theirs/metrics"
  try recover recover "$theirs/recover" --primary "$work/primary.img" --spare "$work/spare.img"
  new_primary
  try create create "$theirs/create" --primary "$work/new.img" --spare "$work/new.spare" --spare-size 4M
  new_primary
  try create-spare create "$work/new.map" --primary "$work/new.img" --spare "$theirs/create-spare" --spare-size 4M
  new_volume grown
  try spare-add spare "$work/grown.map" add "$theirs/spare-add" --size 4M
  try spare-add-mounted spare "$work/served.map" add "$theirs/spare-add-mounted" --size 4M
  for id in $(served_spares); do remapfs spare "$work/served.map" retire "$id" > /dev/null; done
  damaged_map "$theirs/repair"
  try repair repair "$theirs/repair"
done
kill "$attacker"
wait "$attacker" 2> /dev/null || true
attacker=
for what in "${!times_done[@]}"; do
  echo "$what: done ${times_done[$what]} times, refused ${times_refused[$what]} times"
done | sort
echo "$round rounds"
every_verb_both_ways || fail "a verb was not done three times, or not refused three times"

# Links that stay are not followed either.
new_volume grown
rm -rf "${theirs:?}"/*
for link in "$work/victim" "$work/empty" "$work/made"; do
  for name in file repair.damaged; do ln -sfn "$link" "$theirs/$name"; done
  refused "a copy by a link" "exists" remapfs backup "$map" "$theirs/file"
  for verb in "export $map --format csv" "report $map -o" "metrics $map -o"; do
    # shellcheck disable=SC2086
    refused "$verb by a link" "something else than a file" remapfs $verb "$theirs/file"
  done
  refused "a map by a link" "exists" \
    remapfs recover "$theirs/file" --primary "$work/primary.img" --spare "$work/spare.img"
  new_primary
  refused "a new map by a link" "exists" \
    remapfs create "$theirs/file" --primary "$work/new.img" --spare "$work/new.spare" --spare-size 4M
  new_primary
  refused "a spare by a link" "$theirs/file" \
    remapfs create "$work/new.map" --primary "$work/new.img" --spare "$theirs/file" --spare-size 4M
  for target in "$work/grown.map" "$work/served.map"; do
    refused "one more spare by a link" "$theirs/file" remapfs spare "$target" add "$theirs/file" --size 4M
  done
  damaged_map "$theirs/repair"
  remapfs repair "$theirs/repair" > "$work/words" 2>&1 || fail "repair: $(cat "$work/words")"
  grep -q "kept, $theirs/repair.damaged.1" "$work/words" || fail "repair: $(cat "$work/words")"
  rm "$theirs/repair" "$theirs/repair.damaged.1"
  for name in file repair.damaged; do
    [ "$(readlink "$theirs/$name")" = "$link" ] || fail "$name is not the link that it was"
  done
  unharmed "links that stay"
done
remapfs unmount "$work/served.map"
for name in served grown volume; do remapfs check "$work/$name.map" > /dev/null || fail "check of $name"; done
