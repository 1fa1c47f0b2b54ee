#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build_test.sh SOURCE_DIR BUILD_DIR deb|rpm: packaging/build makes the packages.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
mkdir -p "$packages"
build_packages "$3" "$packages/$3" > "$packages/$3.log" 2>&1 ||
  { tail -n 60 "$packages/$3.log" >&2 && fail "packaging/build $3"; }
tail -n 6 "$packages/$3.log"
