# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Common ground of the tests of packages. Source it with SOURCE_DIR BUILD_DIR as the script's arguments.
set -euo pipefail

# shellcheck disable=SC2034
source_dir=$1
packages=$2/packages
soak=${REMAPFS_TEST_SOAK:-0}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

need() {
  local tool
  for tool in "$@"; do
    command -v "$tool" > /dev/null || fail "$tool is not here: run tools/install-dependencies --test"
  done
}

# The one file that the pattern stands for.
only() {
  local found=("$@")
  [ ${#found[@]} = 1 ] && [ -f "${found[0]}" ] || fail "not exactly one file: $*"
  echo "${found[0]}"
}

# build_packages deb|rpm DIR: into DIR. What the compiler made is kept between runs, and shared between the kinds of
# package and the places where they are built, and many files are compiled as one; REMAPFS_TEST_SOAK=1 compiles everything
# each time, and as it is published.
build_packages() {
  local cached=() how=()
  if [ "$soak" != 1 ]; then how=(--unity); fi
  if [ "$soak" != 1 ] && [ -d /usr/lib/ccache ]; then
    cached=(PATH="/usr/lib/ccache:$PATH" CCACHE_DIR="$(ccache --get-config cache_dir)" CCACHE_BASEDIR="$2/work" CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=locale)
  fi
  env "${cached[@]}" "$source_dir/packaging/build" "$1" --output "$2" "${how[@]}"
}

release=$(. /etc/os-release && echo "$VERSION_CODENAME")
cache=$source_dir/build/package-cache

# A fresh tree of this Debian release, with what the packages depend on downloaded but not installed: made once and kept.
# Prints its folder.
fresh_tree() {
  need debootstrap
  local dependencies mirror tree part
  dependencies=$(dpkg-deb -f "$1" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/,/ /g' | tr -s ' ')
  tree=$cache/$release-$(echo "$dependencies" | sha256sum | cut -c1-12)
  if [ ! -d "$tree" ]; then
    mkdir -p "$cache"
    part=$(mktemp -d "$cache/part.XXXXXX")
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $release" | head -n 1)
    {
      debootstrap --variant=minbase "$release" "$part" "$mirror"
      # How the machine reaches its packages is how the tree does.
      cp -R /etc/apt/sources.list.d "$part/etc/apt/"
      [ ! -f /etc/apt/sources.list ] || cp /etc/apt/sources.list "$part/etc/apt/"
      apt-config dump Acquire > "$part/etc/apt/apt.conf.d/99machine"
      cp /etc/resolv.conf "$part/etc/resolv.conf"
      mount -t proc proc "$part/proc"
      # shellcheck disable=SC2086
      chroot "$part" sh -ec "apt-get -q update
        apt-get -q install -y --no-install-recommends --download-only $dependencies
        apt-get -q install -y --no-install-recommends e2fsprogs util-linux mount"
      umount "$part/proc"
    } > "$part.log" 2>&1 || { cat "$part.log" >&2 && fail "no fresh tree of $release"; }
    rm -f "$part.log"
    mv -T "$part" "$tree"
  fi
  echo "$tree"
}

# What was on a machine, for what is left of a package.
listing() { (cd "$1" && find . -xdev -path ./var/cache -prune -o -path ./tmp -prune -o -print | sort); }
