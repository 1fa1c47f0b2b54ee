#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# reproducible_test.sh SOURCE_DIR BUILD_DIR: built again elsewhere, later, with another time zone, language, umask and
# number of jobs, the packages are the same byte by byte. REMAPFS_TEST_SOAK=1 compiles both times without ccache.
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
again=$(mktemp -d /var/tmp/remapfs-again.XXXXXX)
trap 'rm -rf "$again"' EXIT

jobs=$(($(nproc) + 1))
export TZ=Pacific/Kiritimati LC_ALL=C LANG=de_DE.UTF-8 DEB_BUILD_OPTIONS=parallel=$jobs RPM_BUILD_NCPUS=$jobs
for kind in deb rpm; do
  (
    umask 077
    build_packages "$kind" "$again/another/place/$kind"
  ) > "$again/log" 2>&1 || { tail -n 40 "$again/log" >&2 && fail "packaging/build $kind"; }
  same=0
  for file in "$packages/$kind"/*; do
    case $file in
      */work | *.buildinfo | *.changes) continue ;; # these tell of the machine
    esac
    other=$again/another/place/$kind/${file##*/}
    if [[ $file == *.src.rpm ]]; then
      # Its header has the spec as rpm understood it, with the paths of the build: what is in it is compared.
      cmp <(rpm2cpio "$file") <(rpm2cpio "$other") || fail "${file##*/} differs in contents"
      continue
    fi
    cmp "$file" "$other" || fail "${file##*/} differs: diffoscope shows where"
    same=$((same + 1))
  done
  [ "$same" -ge 3 ] || fail "only $same files of $kind were compared"
  echo "$kind: $same files, byte by byte the same"
done
