#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# licence_test.sh SOURCE_DIR: every source, script and build file says its licence in the first three lines.
set -euo pipefail
cd "$1"
bad=0
while IFS= read -r file; do
  head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || { echo "$file: no SPDX line" && bad=1; }
done < <(find include src tests tools bench packaging .ci \( -name '*.hpp' -o -name '*.cpp' -o -name '*.in' -o -name '*.sh' \
  -o -name CMakeLists.txt -o \( -type f -perm -u+x \) \) | sort)
exit $bad
