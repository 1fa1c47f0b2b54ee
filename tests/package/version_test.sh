#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# version_test.sh SOURCE_DIR BUILD_DIR REMAPFS: the version has one place, and everything that tells it tells the same;
# packaging/build refuses a tree where that is not so.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
version=$(sed -n 's/^project(remapfs VERSION \([0-9.]*\).*/\1/p' "$source_dir/CMakeLists.txt")
[ "$("$3" --version)" = "remapfs $version" ] || fail "the program says $("$3" --version)"
grep -q "remapfs $version" "$2/docs/man/remapfs.8" || fail "the manual page does not say $version"

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/packaging"
cp -R "$source_dir/packaging/." "$copy/packaging"
for version in 0.1.9 9.0; do
  sed "s/^project(remapfs VERSION [0-9.]*/project(remapfs VERSION $version/" "$source_dir/CMakeLists.txt" > "$copy/CMakeLists.txt"
  if said=$("$copy/packaging/build" deb 2>&1); then fail "a tree of two versions is packaged"; fi
  grep -q "CMakeLists.txt at $version" <<< "$said" || fail "it says: $said"
done
