#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# format_test.sh SOURCE_DIR: the C++ is as clang-format leaves it. Versions differ in small things: only 14 decides.
set -euo pipefail
cd "$1"
version=$(clang-format --version | sed 's/.*version \([0-9]*\).*/\1/')
if [ "$version" != 14 ]; then
  echo "skipped: clang-format is version $version, the form is that of version 14"
  exit 77
fi
mapfile -t files < <(find src include tests tools bench -name '*.cpp' -o -name '*.hpp' | sort)
[ ${#files[@]} -gt 300 ] || { echo "only ${#files[@]} files found" && exit 1; }
clang-format --dry-run -Werror "${files[@]}"
