#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# round_trips_test.sh SOURCE_DIR: what is exported is what was imported, in every format and unit, mounted or not; what
# ddrescue's own tool makes of it; what must be refused; JSON as its schemas say.
source "$(dirname "$0")/../lib.sh"
here=$(dirname "$(realpath "$0")")
schemas=$1/docs/schema

same() { cmp "$1" "$2" || fail "$3: $(diff "$1" "$2" | head -n 5)"; }
new_volume() {
  rm -f "$map"* "$work/spare.img"
  make_volume "$work/primary.img" > /dev/null
}
conforms() { python3 "$here/validate.py" "$schemas/$1.schema.json"; }
truncate -s $((64 * 1048576 + 512)) "$work/primary.img"

# badblocks, in units smaller than, equal to and larger than the block.
for unit in 512 1024 4096 12288; do
  seq 0 7 $((64 * 1048576 / unit - 1)) > "$work/list"
  for how in unmounted mounted; do
    new_volume
    [ $how = unmounted ] || remapfs mount "$map" "$work/volume"
    remapfs import "$map" --format badblocks --block-size $unit "$work/list" -J > "$work/result.json"
    conforms import < "$work/result.json"
    remapfs export "$map" --format badblocks --block-size $unit "$work/exported"
    same "$work/list" "$work/exported" "badblocks, unit $unit, $how"
    [ "$(jq .lost_sectors "$work/result.json")" = $(($(wc -l < "$work/list") * unit / 512)) ] || fail "sectors, unit $unit"
    [ "$(status_of lost_sectors)" = "$(jq .lost_sectors "$work/result.json")" ] || fail "status, unit $unit"
    # Again, from standard input: everything is there already.
    remapfs import "$map" --format badblocks --block-size $unit - -J < "$work/list" > "$work/again.json"
    jq -e '.lost_blocks == 0 and .weak_blocks == 0 and .existing_blocks > 0' "$work/again.json" > /dev/null || fail "again"
    [ $how = unmounted ] || remapfs unmount "$map"
    remapfs check "$map" > /dev/null || fail "check after unit $unit, $how"
  done
done

# ddrescue.
cat > "$work/mapfile" << 'END'
# Mapfile. Created by remapfs: - lost, / weak, + the rest
# current_pos  current_status  current_pass
0x00000000     +               1
#      pos        size  status
0x00000000  0x00000200  -
0x00000200  0x00000E00  +
0x00001000  0x00002000  /
0x00003000  0x00FFD400  +
0x01000400  0x00000800  -
0x01000C00  0x02FFF400  +
0x04000000  0x00000200  -
END
new_volume
remapfs import "$map" --format ddrescue "$work/mapfile" | grep -qx \
  'imported: 3 blocks lost (6 sectors), 2 weak; 0 had an entry and kept it' || fail "closing line of ddrescue"
remapfs export "$map" --format ddrescue > "$work/exported"
same "$work/mapfile" "$work/exported" ddrescue
ddrescuelog --show-status "$work/exported" > "$work/judgement" || fail "ddrescuelog refuses it"
grep -q 'bad-sector: *3072 B,' "$work/judgement" && grep -q 'non-scraped: *8192 B,' "$work/judgement" ||
  fail "ddrescuelog understands: $(cat "$work/judgement")"
ddrescuelog --list-blocks=- "$work/exported" > "$work/bad"
printf '%s\n' 0 32770 32771 32772 32773 131072 > "$work/expected"
same "$work/expected" "$work/bad" "bad sectors as ddrescuelog lists them"
# What ddrescue itself writes, of a larger disk than ours.
ddrescuelog --create-mapfile=-+ --block-size=512 --size=128MiB --force "$work/by-ddrescue" < "$work/bad"
new_volume
remapfs import "$map" --format ddrescue "$work/by-ddrescue" > /dev/null
remapfs export "$map" --format badblocks --block-size 512 > "$work/exported"
same "$work/bad" "$work/exported" "a map file of ddrescuelog"

# CSV: into a volume with other blocks, and back.
remapfs add "$map" 10 11 > /dev/null
remapfs export "$map" --format csv "$work/list.csv"
[ "$(head -n 1 "$work/list.csv")" = "$(remapfs list "$map" -J | jq -r '.remaps[0] | keys_unsorted | join(",")'),block_size" ] ||
  fail "columns: $(head -n 1 "$work/list.csv")"
rm -f "$map"* "$work/spare.img"
remapfs create "$map" --primary "$work/primary.img" --spare "$work/spare.img" --spare-size 4M --block-size 1024 > /dev/null
remapfs import "$map" --format csv "$work/list.csv" 2> "$work/notes" > /dev/null
grep -q '^remapfs: note: 2 remapped blocks are lost here' "$work/notes" || fail "notes: $(cat "$work/notes")"
remapfs export "$map" --format badblocks --block-size 512 > "$work/exported"
sort -n <(cat "$work/bad" && seq 80 95) > "$work/expected"
same "$work/expected" "$work/exported" "CSV into smaller blocks"
grep -v remapped "$work/list.csv" | cut -d , -f 1-3,6,13 > "$work/expected"
new_volume
remapfs import "$map" --format csv "$work/list.csv" > /dev/null 2>&1
remapfs export "$map" --format csv | cut -d , -f 1-3,6,13 | grep -v '^1[01],' > "$work/exported"
same "$work/expected" "$work/exported" "CSV back"

# A list with a mistake, or of something else, changes nothing at all.
sha256sum "$map" > "$work/before"
refuses() { # text of the error, arguments
  local text=$1
  shift
  if remapfs "$@" > "$work/out" 2> "$work/err"; then fail "accepted: $*"; fi
  [ "$(wc -l < "$work/err")" = 1 ] && grep -q "^remapfs: $text" "$work/err" || fail "$*: $(cat "$work/err")"
  [ ! -s "$work/out" ] || fail "$* printed $(cat "$work/out")"
  sha256sum --quiet -c "$work/before" || fail "$* changed the map"
}
{ seq 1000 9000 && echo oops; } > "$work/mistake"
refuses 'not a block number, .*/mistake line 8002 (oops)' import "$map" --format badblocks --block-size 512 "$work/mistake"
refuses 'not the status line' import "$map" --format ddrescue "$work/list"
refuses 'unknown column 1' import "$map" --format csv "$work/mapfile"
for junk in /dev/urandom /dev/zero; do
  head -c 100000 $junk > "$work/junk"
  refuses '.*, .*/junk line [0-9]' import "$map" --format badblocks --block-size 512 "$work/junk"
  refuses '.*, .*/junk line [0-9]' import "$map" --format ddrescue "$work/junk"
  refuses '.*, .*/junk line [0-9]' import "$map" --format csv "$work/junk"
done
refuses 'cannot read it, .*/nothing (No such file' import "$map" --format csv "$work/nothing"
refuses 'cannot read it, .* (Is a directory)' import "$map" --format csv "$work"
refuses 'a part of the volume has this name' export "$map" --format csv "$work/primary.img"
refuses 'a part of the volume has this name' export "$map" --format csv "$map"
refuses 'something else than a file has this name' export "$map" --format csv "$work/volume"
if remapfs export "$map" --format csv > /dev/full 2> "$work/err"; then fail "a full disk was not noticed"; fi
grep -q '^remapfs: cannot write the output' "$work/err" || fail "full disk: $(cat "$work/err")"

# Places outside the disk are told, those inside are imported.
new_volume
printf '%s\n' 3 131073 18446744073709551615 > "$work/list"
remapfs import "$map" --format badblocks --block-size 512 "$work/list" 2> "$work/notes" | grep -q '^imported: 1 blocks' ||
  fail "what is inside was not imported"
grep -qx 'remapfs: note: 2 places are outside the disk, the first in line 2, check the unit and the disk' "$work/notes" ||
  fail "notes: $(cat "$work/notes")"

# The other verbs' JSON, and a schema that refuses.
remapfs mount "$map" "$work/volume"
remapfs add "$map" 5 > /dev/null
remapfs status "$map" -J | conforms status
remapfs list "$map" -J | conforms list
remapfs list "$map" -J -o block,state | conforms list
remapfs events "$map" -J | conforms events
remapfs unmount "$map"
remapfs status "$map" -J | conforms status
for wrong in 'del(.state)' '.remapped_blocks = -1' '.volume.block_size = 1000' '.json_format_version = 2'; do
  remapfs status "$map" -J | jq "$wrong" | python3 "$here/validate.py" "$schemas/status.schema.json" --refuses
done
remapfs list "$map" -J | jq '.remaps[0].state = "dead"' |
  python3 "$here/validate.py" "$schemas/list.schema.json" --refuses
remapfs events "$map" -J | jq '.events[0].at = "now"' | python3 "$here/validate.py" "$schemas/events.schema.json" --refuses
jq 'del(.lost_blocks)' "$work/result.json" | python3 "$here/validate.py" "$schemas/import.schema.json" --refuses
