#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build_test.sh SOURCE_DIR BUILD_DIR deb|rpm: the packages can be built, by a user without rights where there is one.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
use_ccache
mkdir -p "$packages"
"$source_dir/packaging/build" "$3" --output "$packages/$3" > "$packages/$3.log" 2>&1 ||
  { tail -n 60 "$packages/$3.log" >&2 && fail "packaging/build $3"; }
tail -n 6 "$packages/$3.log"
