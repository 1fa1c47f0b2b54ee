# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Common ground of the end-to-end scripts: a scratch directory, a disk that fails on command, a volume on a loop device,
# a reader of the live map, and a clean-up that runs whatever happens. Source it. REMAPFS and FAULTY_DISK name the
# programs under test.
set -euo pipefail

: "${REMAPFS:?}" "${FAULTY_DISK:?}"
work=$(mktemp -d /var/tmp/remapfs-e2e.XXXXXX)
map=$work/volume.map
disk=$work/failing/disk
files=$work/files
loop=
reader=
seed=${REMAPFS_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
echo "replay with REMAPFS_TEST_SEED=$seed"
mkdir "$work/failing" "$work/volume" "$files"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# refused WHAT WORDS COMMAND...: fails with one line on the error stream, which has the words.
refused() {
  local what=$1 words=$2
  shift 2
  if "$@" > /dev/null 2> "$work/refusal"; then fail "not refused: $what"; fi
  grep -q -- "$words" "$work/refusal" || fail "$what: $(cat "$work/refusal")"
  [ "$(wc -l < "$work/refusal")" = 1 ] || fail "more than a line: $(cat "$work/refusal")"
}

# Every command that may meet a hung mount gets a limit.
remapfs() { timeout 120 "$REMAPFS" "$@"; }
faulty_disk() { timeout 60 "$FAULTY_DISK" "$@"; }

clean_up() {
  local status=$?
  trap - EXIT
  set +e
  # What would keep the volume from being taken down.
  if declare -F first_clean_up > /dev/null; then first_clean_up; fi
  stop_reader
  mountpoint -q "$files" && timeout 60 umount "$files"
  if [ -e "$map" ]; then
    # A test that failed may have left users of the volume who are about to go.
    for _ in 1 2 3 4 5; do
      remapfs detach "$map" > "$work/cleanup.log" 2>&1 && break
      sleep 1
    done
    remapfs unmount --force "$map" >> "$work/cleanup.log" 2>&1
  fi
  if mountpoint -q "$work/volume"; then timeout 20 umount -l "$work/volume"; fi
  if mountpoint -q "$work/failing"; then faulty_disk unmount "$work/failing"; fi
  if declare -F extra_clean_up > /dev/null; then extra_clean_up; fi
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# make_faulty_disk SIZE: a sparse image behind faulty-disk, at $disk.
make_faulty_disk() {
  truncate -s "$1" "$work/platter.img"
  faulty_disk mount "$work/platter.img" "$work/failing"
}

# make_volume PRIMARY: a volume over it, with $spare_size of spare.
spare_size=64M
make_volume() {
  remapfs create "$map" --primary "$1" --spare "$work/spare.img" --spare-size "$spare_size" > /dev/null
}

attach() {
  loop=$(remapfs attach "$map" "$work/volume" | tail -n 1)
  [ -b "$loop" ] || fail "attach printed no loop device: $loop"
}

detach() {
  remapfs detach "$map"
  loop=
}

# Reads the live map over and over, as an administrator's shell would; every error is kept.
start_reader() {
  (
    set +e
    trap 'exit 0' TERM
    while :; do
      sqlite3 -readonly -cmd '.timeout 1000' "$map" \
        'SELECT count(*), sum(error_count) FROM remaps; SELECT * FROM remap_summary; SELECT count(*) FROM events;' \
        > /dev/null 2>> "$work/reader.errors"
      echo >> "$work/reader.rounds"
      sleep 0.02
    done
  ) &
  reader=$!
}

stop_reader() {
  [ -n "$reader" ] || return 0
  kill "$reader" 2> /dev/null
  wait "$reader" 2> /dev/null
  reader=
}

# check_commits COUNT [SECONDS]: so many were made since the mount, and none waited a second (or so many), least of all for
# a reader. Before detach.
check_commits() {
  local count longest
  count=$(status_of commits.count)
  longest=$(status_of commits.longest_us)
  echo "commits: $count, the longest $longest us"
  [ "$count" -ge "$1" ] || fail "only $count commits while the reader ran"
  [ "$longest" -lt $((${2:-1} * 1000000)) ] || fail "a commit took $longest us"
}

check_reader() {
  stop_reader
  [ ! -s "$work/reader.errors" ] || fail "the reader of the live map: $(head -n 3 "$work/reader.errors")"
  [ "$(wc -l < "$work/reader.rounds")" -ge 5 ] || fail "the reader of the live map hardly ran"
  echo "reader: $(wc -l < "$work/reader.rounds") rounds without an error"
}

# await CONDITION [SECONDS]: looks again and again until it holds, for so long (20).
await() {
  for _ in $(seq "$((${2:-20} * 10))"); do
    if eval "$1"; then return 0; fi
    sleep 0.1
  done
  fail "never came: $1"
}

status_of() { remapfs status "$map" -J | jq -r ".$1"; }

make_filesystem() {
  case $1 in
    ext4) timeout 120 mkfs.ext4 -q -b 4096 "$loop" ;;
    xfs) timeout 120 mkfs.xfs -q -f "$loop" ;;
    btrfs) timeout 120 mkfs.btrfs -q -f "$loop" ;;
    *) fail "unknown file system $1" ;;
  esac
}

# start_filesystem FS: on a volume over a disk that can fail, mounted at $files, with a reader of the live map.
start_filesystem() {
  make_faulty_disk 512M
  make_volume "$disk"
  attach
  start_reader
  make_filesystem "$1"
  mount "$loop" "$files"
}

# come_back FS WHAT: everything down and up again; the file system is clean and every file of $work/sums right, or WHAT.
come_back() {
  umount "$files"
  detach
  attach
  check_filesystem "$1"
  mount "$loop" "$files"
  (cd "$files" && sha256sum --quiet -c "$work/sums") || fail "$2"
}

check_filesystem() {
  case $1 in
    ext4) timeout 120 fsck.ext4 -fn "$loop" > "$work/fsck.log" 2>&1 ;;
    xfs) timeout 120 xfs_repair -n "$loop" > "$work/fsck.log" 2>&1 ;;
    btrfs) timeout 120 btrfs check "$loop" > "$work/fsck.log" 2>&1 ;;
  esac || fail "$1 is not clean: $(tail -n 5 "$work/fsck.log")"
}

# unpack_sources FOLDER: a real source tree, the headers of the C++ library and of the kernel.
unpack_sources() {
  mkdir -p "$1"
  tar -C /usr/include -cf - c++ linux | tar -C "$1" -xf -
}

checksum() { (cd "$files" && find . -type f -print0 | sort -z | xargs -0 sha256sum) > "$1"; }
