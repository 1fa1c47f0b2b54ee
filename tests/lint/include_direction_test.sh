#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# include_direction_test.sh SOURCE_DIR: a folder of src/ includes only what stands below it. An installed header is
# visible to everybody, so the build does not notice.
set -euo pipefail
cd "$1"

declare -A may=(
  [core]="core"
  [io]="io core"
  [store]="store core"
  [volume]="volume core"
  [exchange]="exchange core"
  [report]="report core"
  [owners]="owners core"
  [fuse]="fuse core"
  [control]="control core"
  [cli]="cli control fuse exchange owners report volume store io core"
)
bad=0
for folder in "${!may[@]}"; do
  while IFS=: read -r file line include; do
    target=${include#*\"}
    target=${target%%/*}
    case " ${may[$folder]} remapfs " in
      *" $target "*) ;;
      *) echo "$file:$line: src/$folder must not include $target/" && bad=1 ;;
    esac
  done < <(grep -rnE '^#include "[a-z_]+/' "src/$folder" --include='*.hpp' --include='*.cpp' || true)
done

# The vocabulary knows no FUSE, SQLite, CLI or POSIX headers.
if grep -rnE '^#include <(fuse|sqlite3|SQLiteCpp|CLI|fcntl|unistd|sys/|linux/)' include; then
  echo "include/remapfs must stand on the C++ standard library and tl::expected alone" && bad=1
fi
# There alone is it said what a missing member means.
if grep -rn '#include <nlohmann/' src include tests bench tools --include='*.hpp' --include='*.cpp' | grep -v '^src/core/json.hpp:'; then
  echo "include core/json.hpp instead" && bad=1
fi
exit $bad
