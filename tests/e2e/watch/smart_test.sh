#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# smart_test.sh SOURCE_DIR: what smartctl says of the drives is judged, kept in the map, mounted or not, and shown in the
# report; a smartctl that is not there, hangs, or knows nothing is told in words. smartctl itself is one of the test's own:
# machines that run tests have no drives to ask.
source "$(dirname "$0")/../lib.sh"
conforms() { python3 "$(dirname "$0")/../exchange/validate.py" "$source/docs/schema/$1.schema.json"; }
source=$1

mkdir "$work/bin"
cat > "$work/bin/smartctl" << 'END'
#!/bin/sh
echo "$*" >> "$(dirname "$0")/asked"
cat "$(dirname "$0")/answer"
exec "$(dirname "$0")/after"
END
printf '#!/bin/sh\nexit 4\n' > "$work/bin/after"
chmod +x "$work/bin/smartctl" "$work/bin/after"
export PATH="$work/bin:$PATH"
# answer REALLOCATED PASSED
answer() {
  cat > "$work/bin/answer" << END
{"smartctl":{"exit_status":4},"device":{"protocol":"ATA"},"model_name":"WDC test","serial_number":"S1","rotation_rate":7200,
 "smart_status":{"passed":$2},"temperature":{"current":35},"power_on_time":{"hours":100},
 "ata_smart_attributes":{"table":[{"id":5,"name":"Reallocated_Sector_Ct","when_failed":"","raw":{"value":$1}},
 {"id":197,"name":"Current_Pending_Sector","when_failed":"","raw":{"value":0}}]}}
END
}

# The image lies on the drive of the scratch folder, if that has one. A loop device is a drive of its own.
truncate -s 64M "$work/primary.img"
loop=$(losetup --show -f "$work/primary.img")
extra_clean_up() { losetup -d "$loop"; }
make_volume "$loop"
verdict() { jq -r '.drives[0].verdict' "$work/smart.json"; }
ask() {
  remapfs smart "$map" -J > "$work/smart.json" 2> "$work/err" || fail "smart: $(cat "$work/err")"
  conforms smart < "$work/smart.json"
}

answer 0 true
ask
[ "$(verdict)" = fine ] || fail "$(cat "$work/smart.json")"
jq -e --arg loop "$loop" '.drives[0] | .drive == $loop and .reallocated == 0 and .history == [] and .model == "WDC test S1"' \
  "$work/smart.json" > /dev/null || fail "$(cat "$work/smart.json")"
grep -q -- "-j .*$loop\$" "$work/bin/asked" || fail "asked: $(cat "$work/bin/asked")"
[ ! -s "$work/err" ] || fail "unmounted: $(cat "$work/err")"

# Mounted: through the daemon. Sixty sectors more than an hour ago.
remapfs mount "$map" "$work/volume"
answer 60 true
ask
[ "$(verdict)" = replace-now ] || fail "$(cat "$work/smart.json")"
jq -e '.drives[0].history | length == 1 and .[0].reallocated == 0' "$work/smart.json" > /dev/null || fail "not kept"
[ ! -s "$work/err" ] || fail "mounted: $(cat "$work/err")"
remapfs smart "$map" > "$work/words"
grep -q '^Verdict: *replace it now$' "$work/words" && grep -q '60 sectors were replaced since 20' "$work/words" ||
  fail "$(cat "$work/words")"
grep -q '^History: *2 readings since 20' "$work/words" || fail "$(cat "$work/words")"
[ "$(sqlite3 -readonly "$map" "SELECT group_concat(reallocated) FROM smart WHERE device_id = 0")" = 0,60,60 ] || fail "the table"
remapfs report "$map" -J > "$work/report.json"
conforms report < "$work/report.json"
jq -e '.smart | .verdict == "replace-now" and (.history | length) == 3 and .history[1].reallocated == 60' "$work/report.json" \
  > /dev/null || fail "$(jq .smart "$work/report.json")"
# A drive that is put in its place begins anew.
sed -i 's/"S1"/"S2"/' "$work/bin/answer"
answer_of_other=$(sed 's/"value":60/"value":0/' "$work/bin/answer") && echo "$answer_of_other" > "$work/bin/answer"
ask
[ "$(verdict)" = fine ] && [ "$(jq '.drives[0].history | length' "$work/smart.json")" = 0 ] || fail "$(cat "$work/smart.json")"
remapfs unmount "$map"

# Nothing is written to a read-only volume; it is judged all the same.
remapfs mount "$map" "$work/volume" -o ro
readings=$(sqlite3 -readonly "$map" "SELECT count(*) FROM smart")
ask
[ "$(sqlite3 -readonly "$map" "SELECT count(*) FROM smart")" = "$readings" ] || fail "wrote to a read-only volume"
remapfs unmount "$map"

# Answers that are none, and none at all.
echo 'Smartctl: not JSON' > "$work/bin/answer"
ask
[ "$(verdict)" = unknown ] && jq -r '.drives[0].reasons[0]' "$work/smart.json" | grep -q 'cannot understand smartctl' ||
  fail "$(cat "$work/smart.json")"
echo '{"smartctl":{"messages":[{"string":"Unknown USB bridge"}]}}' > "$work/bin/answer"
ask
[ "$(verdict)" = unknown ] && jq -r '.drives[0].reasons[0]' "$work/smart.json" | grep -q 'Unknown USB bridge' ||
  fail "$(cat "$work/smart.json")"
rm "$work/bin/smartctl"
if command -v smartctl > /dev/null; then
  echo "a real smartctl is installed: that it is missing is not tried"
else
  status=0
  remapfs smart "$map" 2> "$work/err" || status=$?
  [ $status = 2 ] && grep -q 'smartctl is not installed, .*install smartmontools' "$work/err" || fail "$status: $(cat "$work/err")"
fi
remapfs check "$map" > /dev/null || fail "check"
