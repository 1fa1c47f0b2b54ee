#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# page_test.sh SOURCE_DIR: the report of a volume says what its map says, and shows it in a browser: the checks of
# checks.js run in the page, in headless Chromium, with real data and with every sample, on a desktop and on a phone.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
schemas=$1/docs/schema
conforms() { python3 "$here/../exchange/validate.py" "$schemas/$1.schema.json"; }

# browse WIDTH PAGE: prints what the checks in the page say.
browse() {
  timeout 60 chromium --headless=new --no-sandbox --disable-gpu --no-first-run --window-size="$1",900 \
    --user-data-dir="$work/profile" --dump-dom "file://$2" 2> "$work/browser.log" |
    sed -n '/<pre id="checks"/,/<\/pre>/p' | sed 's/<[^>]*>//g'
}

# check_page NAME WIDTH: of $work/NAME.html.
check_page() {
  (cat "$work/$1.html" && echo "<script>" && cat "$here/checks.js" && echo "</script>") > "$work/$1.checked.html"
  browse "$2" "$work/$1.checked.html" > "$work/$1.checks"
  grep -qE '^checks: [1-9][0-9]* passed, 0 failed$' "$work/$1.checks" ||
    fail "$1 at $2: $(grep -vE '^ok' "$work/$1.checks" || tail -n 5 "$work/browser.log")"
  echo "$1, $2 pixels: $(tail -n 1 "$work/$1.checks")"
}

# Bytes of JavaScript in the label and in paths stay text.
map="$work/</script><img src=x onerror=alert(1)>.map"
mkdir -p "$(dirname "$map")"
make_faulty_disk 256M
remapfs create "$map" --primary "$disk" --spare "$work/spare.img" --spare-size 64M \
  --label '</script><script>document.title="broken"</script>' > /dev/null
remapfs report "$map" -o "$work/empty.html"
remapfs mount "$map" "$work/volume"
# What is as old as the volume is not counted as new.
sleep 1.1
remapfs add "$map" 100-109 5000 7777 > /dev/null
remapfs mark-lost "$map" 20000-20002 > /dev/null
printf '%s\n' 30000 30001 | remapfs import "$map" - --format badblocks --block-size 4096 --as weak > /dev/null
remapfs report "$map" -o "$work/mounted.html"
remapfs report "$map" -J > "$work/mounted.json"
conforms report < "$work/mounted.json"
jq .status "$work/mounted.json" | conforms status
jq -e '.regions == {unit_blocks: 1, list: .regions.list} and
  [.regions.list[] | [.[0], .[1], .[2], .[3], .[4], .[7], .[8]]] == [
    [100, 110, 10, 0, 0, "operator_add", 0], [5000, 5001, 1, 0, 0, "operator_add", 0], [7777, 7778, 1, 0, 0, "operator_add", 0],
    [20000, 20003, 0, 24, 0, "operator_mark", 3], [30000, 30002, 0, 0, 2, "imported", 0]] and
  .growth[-1][1:] == [12, 24, 2] and .forecast.slots_per_day > 0 and (.events | length) > 3' "$work/mounted.json" > /dev/null ||
  fail "$(jq -c '.regions, .growth, .forecast' "$work/mounted.json")"
[ "$(grep -c '<script' "$work/mounted.html")" = 2 ] || fail "text of the volume became an element"
remapfs report "$map" -o - > "$work/printed.html"
grep -q '</html>' "$work/printed.html" && [ ! -e - ] || fail "-o - is no standard output"
remapfs unmount "$map"
remapfs report "$map" -o "$work/unmounted.html"

# Refused, and nothing is written: a part of the volume, a folder that is not there, nothing asked for.
before=$(sha256sum < "$map")
if remapfs report "$map" -o "$map" 2> "$work/err"; then fail "wrote over the map"; fi
grep -q 'a part of the volume has this name' "$work/err" || fail "$(cat "$work/err")"
[ "$(sha256sum < "$map")" = "$before" ] || fail "the map is another one"
# Also one that cannot be read, and one that nobody spoke of.
cp "$map" "$work/damaged.map"
printf 'xxxx' | dd of="$work/damaged.map" bs=1 seek=100 conv=notrunc status=none
for other in "$work/damaged.map" "$map"; do
  before=$(sha256sum < "$other")
  if remapfs metrics "$work/damaged.map" -o "$other" 2> "$work/err"; then fail "wrote over $other"; fi
  [ "$(sha256sum < "$other")" = "$before" ] || fail "metrics replaced $other: $(cat "$work/err")"
done
if remapfs report "$map" -o "$work/nowhere/x.html" 2> "$work/err"; then fail "wrote to nowhere"; fi
[ "$(wc -l < "$work/err")" = 1 ] || fail "$(cat "$work/err")"
status=0
remapfs report "$map" 2> "$work/err" || status=$?
[ "$status" = 1 ] && grep -q 'one of -o and -J is needed' "$work/err" || fail "$status: $(cat "$work/err")"
[ "$(find "$work" -name '*.new-*' | wc -l)" = 0 ] || fail "left a draft behind"

# Thousands of places that are not neighbours: few regions, all of them counted, in a small page.
seq 0 7 65535 | remapfs import "$map" - --format badblocks --block-size 4096 > /dev/null
remapfs report "$map" -J > "$work/many.json"
jq -e '(.regions.list | length) as $n | $n > 1000 and $n <= 20000 and .status.lost_sectors == ([.regions.list[][3]] | add)' \
  "$work/many.json" > /dev/null || fail "many: $(jq -c '.regions | .unit_blocks, (.list | length)' "$work/many.json")"
remapfs report "$map" -o "$work/many.html"

if ! command -v chromium > /dev/null; then fail "no browser: tools/install-dependencies --test installs chromium"; fi
for page in empty mounted unmounted many; do check_page "$page" 1280; done

# with_sample CASE: the same page with other data.
with_sample() {
  python3 "$here/sample.py" "$1" "$seed" > "$work/$1.json"
  # Hostile data is none that the program makes.
  [ "$1" = hostile ] || conforms report < "$work/$1.json"
  python3 - "$work/empty.html" "$work/$1.json" > "$work/sample-$1.html" << 'END'
import sys
page, data = open(sys.argv[1], encoding="utf-8").read(), open(sys.argv[2], encoding="utf-8").read()
head, rest = page.split('<script type="application/json" id="data">\n', 1)
print(head + '<script type="application/json" id="data">\n' + data.replace("<", "\\u003c") + rest[rest.index("\n</script>"):], end="")
END
}
for sample in $(python3 "$here/sample.py"); do
  with_sample "$sample"
  check_page "sample-$sample" 1280
done
for sample in usual long hostile; do check_page "sample-$sample" 500; done
