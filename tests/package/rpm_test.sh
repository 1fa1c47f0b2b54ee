#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rpm_test.sh SOURCE_DIR BUILD_DIR: the rpm goes into a fresh root and out of it again; its files are the deb's, its scripts
# touch nothing, its dependencies are there. Fedora's packages are not here, so that rpm cannot look for them (--nodeps).
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
need rpm dpkg-deb
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
main=$(only "$packages"/rpm/remapfs-[0-9]*.x86_64.rpm)
disk=$(only "$packages"/rpm/faulty-disk-[0-9]*.x86_64.rpm)

requires=$(rpm -qp --requires "$main" "$disk")
for wanted in fuse3 'libfuse3.so.3()(64bit)' 'libsqlite3.so.0()(64bit)' 'liburing.so.2()(64bit)' 'libblkid.so.1()(64bit)'; do
  grep -qF "$wanted" <<< "$requires" || fail "the rpm does not ask for $wanted"
done
if grep -qE 'devel|/usr/bin/(python|bash|env)' <<< "$requires"; then fail "the rpm asks for too much: $requires"; fi
scripts=$(rpm -qp --scripts "$main" "$disk")
# Timers are no volumes.
if grep -vE "^ *systemctl stop '[a-z@*-]+\.timer' \|\| :\$" <<< "$scripts" | grep -qE 'restart|stop|rm |unmount|detach'; then
  fail "a script meddles: $scripts"
fi

# What is where: as in the deb, but for the folders that distributions call differently, and those of ours, which an rpm
# lists as it lists files.
plain() {
  sed -e 's,^\.,,' -e 's,^/lib/,/usr/lib/,' -e 's,zsh/vendor-completions,zsh/site-functions,' \
    -e '\,/usr/share/doc/,d' -e '\,/usr/share/lintian,d' -e '\,/usr/share/licenses/,d' -e '\,^/usr/lib/\.build-id,d' \
    -e '\,^/usr/share/remapfs\(/grafana\|/prometheus\)\?$,d' -e '\,/$,d' | sort
}
difference=$(diff <(for deb in "$packages"/deb/{remapfs,faulty-disk}_*.deb; do dpkg-deb -c "$deb" | awk '{print $6}'; done | plain) \
  <(rpm -qpl "$main" "$disk" | plain)) || fail "deb (<) and rpm (>) differ: $difference"
rpm -qpL "$main" | grep -q /LICENSE || fail "no licence in the rpm"
rpm -qpd "$main" | grep -q man8/remapfs.8.gz || fail "no manual page in the rpm"

rpm --root "$root" --initdb
rpm --root "$root" --nodeps --noscripts -i "$main" "$disk"
rpm --root "$root" --nodeps -V remapfs faulty-disk || fail "what was installed is not what is in the rpm"
"$root/usr/bin/remapfs" --version > /dev/null || fail "the program does not run"
# Whoever upgrades has the new files, and nothing twice.
rpm --root "$root" --nodeps --noscripts -U --replacepkgs "$main"
[ "$(rpm --root "$root" -qa | sort -u | wc -l)" = 2 ] || fail "there is more than what was installed: $(rpm --root "$root" -qa)"
rpm --root "$root" --nodeps --noscripts -e remapfs faulty-disk
left=$(find "$root" -iname '*remapfs*' -o -iname '*faulty*')
[ -z "$left" ] || fail "left behind: $left"
