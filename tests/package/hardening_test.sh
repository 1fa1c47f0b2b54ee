#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# hardening_test.sh SOURCE_DIR BUILD_DIR: the programs in the packages have what distributions harden with, their
# symbols are in packages of their own, and no path of the build is left in either.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
need hardening-check readelf rpm2cpio cpio dpkg-deb
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for deb in "$packages"/deb/*.deb; do dpkg-deb -x "$deb" "$work/deb"; done
mkdir "$work/rpm"
for rpm in "$packages"/rpm/*.x86_64.rpm; do
  (cd "$work/rpm" && rpm2cpio "$rpm" | cpio -idm --quiet)
done

for kind in deb rpm; do
  for program in remapfs faulty-disk; do
    file=$work/$kind/usr/bin/$program
    said=$(hardening-check --nocfprotection "$file" 2>&1) || fail "$kind: $said"
    header=$(readelf -hldW "$file")
    grep -q 'Type: *DYN' <<< "$header" || fail "$kind $program: no position independent executable"
    grep -q GNU_RELRO <<< "$header" || fail "$kind $program: no RELRO"
    grep -qE 'BIND_NOW|FLAGS_1.*NOW' <<< "$header" || fail "$kind $program: not bound at start"
    grep -q 'GNU_STACK.*RW ' <<< "$header" || fail "$kind $program: its stack can be run"
    symbols=$(readelf -sW "$file")
    grep -q __stack_chk_fail <<< "$symbols" || fail "$kind $program: no stack protector"
    grep -qE '__(mem|str|v?sn?printf|read|pread|poll)[a-z]*_chk' <<< "$symbols" || fail "$kind $program: not fortified"
    if readelf -SW "$file" | grep -q '\.debug_info'; then fail "$kind $program: debug symbols are not apart"; fi
    if readelf -dW "$file" | grep -qE 'RPATH|RUNPATH'; then fail "$kind $program: looks for libraries in places of its own"; fi
  done
done
[ -n "$(find "$work/deb/usr/lib/debug" -name '*.debug')" ] || fail "deb: no debug symbols"
[ -n "$(find "$work/rpm/usr/lib/debug" -name '*.debug')" ] || fail "rpm: no debug symbols"
left=$(grep -rlF "$packages" "$work" || true)
[ -z "$left" ] || fail "a path of the build is in $left"
