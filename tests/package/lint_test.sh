#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lint_test.sh SOURCE_DIR BUILD_DIR: lintian and rpmlint find nothing, and every exception has its reason.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
need lintian rpmlint

# Not looked for: spelling errors in binaries. Short constants stand in the code, and the code after them is read as letters.
said=$(lintian --pedantic --display-info --fail-on none --suppress-tags spelling-error-in-binary "$(only "$packages"/deb/*.changes)" 2> /dev/null)
[ -z "$said" ] || fail "lintian: $said"
# Another way to see that it looked: without our exceptions it finds what they are for.
said=$(lintian --pedantic --display-info --fail-on none --no-override "$(only "$packages"/deb/*.changes)" 2> /dev/null)
grep -q 'no-homepage-field' <<< "$said" || fail "lintian finds nothing at all: $said"

said=$(rpmlint -c "$source_dir/packaging/rpm/rpmlint.toml" "$packages"/rpm/*.rpm 2>&1) || fail "rpmlint: $said"
grep -q ' 0 errors, 0 warnings' <<< "$said" || fail "rpmlint: $said"
grep -qE '[1-9][0-9]* packages' <<< "$said" || fail "rpmlint looked at nothing: $said"

# An exception comes after a line that says why, or after another exception.
for file in "$source_dir"/packaging/debian/*lintian-overrides "$source_dir"/packaging/debian/source/lintian-overrides; do
  head -n 1 "$file" | grep -q '^# ' || fail "$file: an override without a reason"
done
unexplained=$(awk '/^ *"/ && !reason {print} {reason = /^ *#/ || (/^ *"/ && reason)}' "$source_dir/packaging/rpm/rpmlint.toml")
[ -z "$unexplained" ] || fail "rpmlint.toml: no reason: $unexplained"
