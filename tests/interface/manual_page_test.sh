#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# manual_page_test.sh PAGE: groff and mandoc find nothing to complain of, and the page fits 80 columns.
set -euo pipefail
page=$1

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

complaints=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 > /dev/null)
[ -z "$complaints" ] || fail "groff: $complaints"
complaints=$(mandoc -T lint -W style "$page") || true
# No page of another section, or of another package, is looked for here.
complaints=$(grep -vE 'referenced manual not found' <<< "$complaints" || true)
[ -z "$complaints" ] || fail "mandoc: $complaints"

text=$(LC_ALL=C.UTF-8 MANWIDTH=80 MAN_KEEP_FORMATTING='' man -l "$page" | col -bx)
for heading in NAME DESCRIPTION 'SEE ALSO'; do
  grep -qx "$heading" <<< "$text" || fail "no section $heading"
done
wide=$(LC_ALL=C.UTF-8 grep -E '^.{81,}$' <<< "$text" || true)
[ -z "$wide" ] || fail "wider than 80 columns: $wide"
if grep -nE '[*`]|\]\(' <<< "$text" | grep -vE '\*\.|select \*|, `\*`'; then fail "Markdown is left"; fi
