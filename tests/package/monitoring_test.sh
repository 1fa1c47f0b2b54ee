#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# monitoring_test.sh SOURCE_DIR BUILD_DIR REMAPFS: figures are what Prometheus reads, in both formats and in a file that is
# never half written; the alerts do what they say; alerts and dashboard use only figures that there are, and verbs too.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
promtool=$(command -v promtool || echo "$source_dir/build/promtool")
[ -x "$promtool" ] || fail "promtool is not here: run tools/install-dependencies --test"
rules=$source_dir/packaging/prometheus/remapfs.rules.yml
dashboard=$source_dir/packaging/grafana/remapfs.json
look() { "$(dirname "$0")/monitoring.py" "$@"; }

work=$(mktemp -d /var/tmp/remapfs-monitoring.XXXXXX)
writer=
clean_up() {
  status=$?
  trap - EXIT
  set +e
  touch "$work/stop"
  [ -z "$writer" ] || wait "$writer"
  for name in old other; do timeout 60 "$program" unmount --force "$work/$name.map" > /dev/null 2>&1; done
  rm -rf --one-file-system "$work"
  exit "$status"
}
program=$3
trap clean_up EXIT
remapfs() { timeout 60 "$program" "$@"; }
step() { echo "== $*"; }

step "two volumes: one with a label that is hard to quote, a spare more, a scrub and some requests; one that was only mounted"
mkdir "$work/old" "$work/other"
for name in old other; do
  truncate -s 32M "$work/$name.primary"
  remapfs create "$work/$name.map" --primary "$work/$name.primary" --spare "$work/$name.spare" --spare-size 2M \
    --label "$name \"\\disk" > /dev/null
done
remapfs spare "$work/old.map" add "$work/more.spare" --size 2M > /dev/null
remapfs mount "$work/old.map" "$work/old"
remapfs mount "$work/other.map" "$work/other"
timeout 60 dd if=/dev/urandom of="$work/old/disk" bs=64k count=40 conv=notrunc,fsync status=none
timeout 60 dd if="$work/old/disk" of=/dev/null bs=64k count=40 iflag=direct status=none
remapfs add "$work/old.map" 1-20 > /dev/null
remapfs mark-lost "$work/old.map" 30 > /dev/null
remapfs scrub "$work/old.map" > /dev/null 2>&1

step "both formats are read, and say the same"
remapfs metrics "$work/old.map" "$work/other.map" > "$work/open"
remapfs metrics "$work/old.map" "$work/other.map" -o "$work/text.prom"
[ "$(tail -n 1 "$work/open")" = "# EOF" ] || fail "no end: $(tail -n 1 "$work/open")"
look formats "$work/open" "$work/text.prom" || fail "the formats differ, or are not what they should be"
said=$("$promtool" check metrics < "$work/text.prom" 2>&1) || fail "promtool check metrics: $said"
[ -z "$said" ] || fail "promtool check metrics: $said"
remapfs metrics --all > "$work/all"
for name in old other; do grep -qF "map=\"$work/$name.map\"" "$work/all" || fail "--all does not know $name"; done

step "the file is replaced as a whole"
umask 022
inode=$(stat -c %i "$work/text.prom")
remapfs metrics "$work/old.map" "$work/other.map" -o "$work/text.prom"
[ "$(stat -c %i "$work/text.prom")" != "$inode" ] || fail "the file was written over"
[ "$(stat -c %a "$work/text.prom")" = 644 ] || fail "the file can be read by $(stat -c %a "$work/text.prom")"
(
  until [ -e "$work/stop" ]; do remapfs metrics "$work/old.map" "$work/other.map" -o "$work/text.prom" || touch "$work/wrong"; done
) &
writer=$!
look whole "$work/text.prom" || fail "a part of the file was there to be read"
touch "$work/stop"
wait "$writer"
writer=
[ ! -e "$work/wrong" ] || fail "it was not written each time"
left=$(find "$work" -maxdepth 1 -name 'text.prom?*')
[ -z "$left" ] || fail "left behind: $left"

step "what cannot be had is told, and the rest is written; what is no place for it is refused"
# refuses TEXT ARGUMENTS...: metrics ends with 2 and says so
refuses() {
  local text=$1 status=0 said
  shift
  said=$(remapfs metrics "$@" 2>&1 > /dev/null) || status=$?
  [ "$status" = 2 ] || fail "metrics $*: ends with $status"
  grep -qF "$text" <<< "$said" || fail "metrics $*: says $said"
}
rm "$work/text.prom"
refuses "$work/none.map" "$work/none.map" "$work/old.map" "$work/open" "$work/other.map" -o "$work/text.prom"
for name in old other; do grep -qF "map=\"$work/$name.map\"" "$work/text.prom" || fail "$name is not told of"; done
sum() { sha256sum < "$1"; }
for member in old.map old.primary more.spare old.map-wal; do
  ln -s "$work/$member" "$work/link"
  before=$(sum "$work/$member")
  refuses "$work/$member" "$work/old.map" -o "$work/$member"
  refuses "name another file" "$work/old.map" -o "$work/link"
  [ "$(sum "$work/$member")" = "$before" ] || fail "$member has changed"
  rm "$work/link"
done
refuses "$work/nowhere" "$work/old.map" -o "$work/nowhere/text.prom"

step "unmounted: figures of the map, none of what is counted"
remapfs unmount "$work/other.map"
remapfs metrics "$work/other.map" > "$work/unmounted"
look formats "$work/unmounted" || fail "figures of an unmounted volume cannot be read"
grep -q '^remapfs_mounted{.*} 0$' "$work/unmounted" || fail "it is told to be mounted"
if grep -E '^[^#]*_total|^[^#]*_bucket' "$work/unmounted"; then fail "an unmounted volume counts"; fi
remapfs metrics --all > "$work/all"
if grep -F "$work/other.map" "$work/all"; then fail "--all has what is not mounted"; fi

step "alerts"
said=$("$promtool" check rules "$rules" 2>&1) || fail "promtool check rules: $said"
for file in "$source_dir"/tests/package/rules*.test.yml; do
  said=$(timeout 300 "$promtool" test rules "$file" 2>&1) || fail "promtool test rules: $said"
done
look alerts "$rules" "$source_dir"/tests/package/rules*.test.yml || fail "an alert is not whole, or not tested"

step "alerts and dashboard use what there is"
look names "$work/text.prom" "$rules" "$dashboard" || fail "there are no such figures"
look verbs "$rules" "$dashboard" > "$work/verbs"
[ "$(wc -l < "$work/verbs")" -ge 8 ] || fail "next to no verbs: $(cat "$work/verbs")"
while read -r verb; do
  remapfs "$verb" --help > /dev/null 2>&1 || fail "there is no verb $verb"
done < "$work/verbs"
look dashboard "$dashboard" > "$work/dashboard.rules.yml" || fail "the dashboard is not in order"
[ "$(grep -c expr: "$work/dashboard.rules.yml")" -ge 25 ] || fail "next to no expressions in the dashboard"
said=$("$promtool" check rules "$work/dashboard.rules.yml" 2>&1) || fail "an expression of the dashboard: $said"
