#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install_dependencies_test.sh SOURCE_DIR: tools/install-dependencies installs what is missing, by the package tool that is there, and asks for nothing when
# nothing is missing. The package tools are stand-ins that keep a list of what is installed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# In a tree of its own: it puts a program there.
tree=$folder/tree
script=$tree/tools/install-dependencies
mkdir -p "$tree/tools"
cp "$1/tools/install-dependencies" "$script"
failures=0

# expect TEXT TEST...: the test must hold
expect() {
  local text=$1
  shift
  if ! "$@"; then
    echo "FAILED: $text"
    failures=$((failures + 1))
  fi
}

stub() { printf '#!/bin/bash\n%s\n' "$2" > "$folder/$1" && chmod +x "$folder/$1"; }
has_line() { grep -qxF -- "$1" "$2"; }
lacks_line() { ! has_line "$@"; }
empty() { [ ! -s "$1" ]; }

run() { # arguments of the script; root unless user is set
  local status=0
  : > "$folder/log"
  stub id "echo ${user:-0}"
  env -i PATH="$folder" STATE="$folder" /bin/bash "$script" "$@" > "$folder/out" 2>&1 || status=$?
  echo "$status" > "$folder/status"
}

check_tool() { # name of the package tool
  : > "$folder/installed"
  run
  expect "$1: the first run works" has_line 0 "$folder/status"
  expect "$1: the compiler is installed" has_line "$2" "$folder/installed"
  expect "$1: FUSE is installed" has_line "$3" "$folder/installed"
  expect "$1: test tools are not asked for" lacks_line fio "$folder/installed"
  : > "$folder/log"
  run
  expect "$1: a second run asks for nothing" empty "$folder/log"
  run --test
  expect "$1: --test installs the rest" has_line fio "$folder/installed"
  expect "$1: --test does not install again what is there" [ "$(sort "$folder/installed" | uniq -d)" = "" ]
  run --test
  expect "$1: a second run with --test asks for nothing" empty "$folder/log"

  # One package went away.
  grep -vx fio "$folder/installed" > "$folder/less" && mv "$folder/less" "$folder/installed"
  user=1000 run --test
  expect "$1: root is needed to install" has_line 2 "$folder/status"
  expect "$1: what is missing is named" grep -q 'missing packages: fio: run as root' "$folder/out"
  expect "$1: nothing is asked without root" empty "$folder/log"
  user=1000 run
  expect "$1: without anything missing no root is needed" has_line 0 "$folder/status"
  run --test
  expect "$1: only what is missing is installed" grep -q 'installing fio$' "$folder/out"
  stub "$1" 'exit 100'
  grep -vx fio "$folder/installed" > "$folder/less" && mv "$folder/less" "$folder/installed"
  run --test
  expect "$1: its failure is ours" has_line 100 "$folder/status"
  rm -f "$folder/$1"
}

for tool in grep sed tr mktemp rm mkdir chown mv; do ln -s "$(command -v "$tool")" "$folder/"; done
install='echo "$*" >> "$STATE/log"
[[ " $* " != *" download "* ]] || { : > "${!#}_1_all.deb" && exit; }
for word in "$@"; do case $word in install | update | -*) ;; *) echo "$word" >> "$STATE/installed" ;; esac; done'

stub apt-get "$install"
stub dpkg-query 'printf "%s\n" "${@:4}" | grep -xF -f "$STATE/installed" | sed "s/\$/:installed/"'
stub dpkg-deb '[[ $1 = -x && $2 = prometheus_1_all.deb ]] && mkdir -p "$3/usr/bin" && : > "$3/usr/bin/promtool" && chmod +x "$3/usr/bin/promtool"'
ln -s "$(command -v chmod)" "$folder/"
check_tool apt-get g++ libfuse3-dev
expect "apt-get: promtool is taken out of its package" [ -x "$tree/build/promtool" ]
expect "apt-get: the server of that package is not installed" lacks_line prometheus "$folder/installed"
# All is there but promtool.
stub apt-get "$install"
run --test
rm -r "$tree/build"
user=1000 run --test
expect "apt-get: promtool needs no root" [ -x "$tree/build/promtool" ]
expect "apt-get: and nothing else is asked for" [ "$(sed 's/.*download/download/' "$folder/log")" = "download prometheus" ]
rm -r "$tree/build"
stub promtool true
run --test
expect "apt-get: a promtool that is there is used" empty "$folder/log"
run
rm -f "$folder/promtool"
run
expect "apt-get: without --test there is no promtool" [ ! -e "$tree/build" ]
rm -f "$folder/apt-get" "$folder/dpkg-query" "$folder/dpkg-deb"

stub dnf "$install"
stub rpm 'grep -qxF -- "${!#}" "$STATE/installed"'
check_tool dnf gcc-c++ 'pkgconfig(fuse3)'
expect "dnf: promtool is installed" has_line /usr/bin/promtool "$folder/installed"
rm -f "$folder/dnf"

run
expect "without a package tool: exit 2" has_line 2 "$folder/status"
run --nonsense
expect "unknown option: exit 1" has_line 1 "$folder/status"

[ "$failures" = 0 ]
