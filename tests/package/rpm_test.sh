#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rpm_test.sh SOURCE_DIR BUILD_DIR: the rpm goes into a fresh root and out of it again; its files are the deb's, its scripts
# touch nothing, its dependencies are there. Fedora's packages are not here, so that rpm cannot look for them (--nodeps).
# shellcheck source=tests/package/lib.sh
. "$(dirname "$0")/lib.sh"
need rpm dpkg-deb systemctl
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
# Timers are no volumes, nor are the files that timers write.
if grep -vE "^ *(systemctl stop '[a-z@*-]+\.timer' \|\| :|rm -f /var/lib/[a-z/-]+/[a-z*-]+\.(prom|timer))\$" <<< "$scripts" |
  grep -vE '^ *(#|remapfs@[.]service remapfs-attach@[.]service )' | grep -qE 'restart|stop|rm |unmount|detach'; then
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

# The scripts of a removal, with a systemctl that works in the root: what was enabled is taken back, what somebody else
# enabled is not, and nothing is stopped. Of an upgrade they do nothing.
enabled=(remapfs-scrub@srv-a.map.timer remapfs-scrub@srv-b.map.timer remapfs@srv-a.map.service remapfs-attach@srv-a.map.service
  remapfs-metrics.timer)
printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' > "$root/usr/lib/systemd/system/other.service"
systemctl --root="$root" enable "${enabled[@]}" other.service 2> /dev/null
links() { find "$root/etc/systemd" -type l -printf '%f\n' | sort | tr '\n' ' '; }
all=$(links)
[ "$(wc -w <<< "$all")" = 6 ] || fail "not enabled: $all"
for script in PREUN POSTUN; do rpm -qp --queryformat "%{$script}\n" "$main" > "$root/$script"; done
mkdir "$root/bin"
printf '#!/bin/sh\n[ "$1" = stop ] || exec %s --root="%s" "$@"\n' "$(command -v systemctl)" "$root" > "$root/bin/systemctl"
chmod +x "$root/bin/systemctl"
removal() { PATH=$root/bin:$PATH sh -e "$root/$1" "$2" 2> "$root/log" || fail "$1 $2: $(cat "$root/log")"; }
removal PREUN 1
[ "$(links)" = "$all" ] || fail "an upgrade disables: $(links)"
removal PREUN 0
rpm --root "$root" --nodeps --noscripts -e remapfs faulty-disk
removal POSTUN 0
[ "$(links)" = 'other.service ' ] || fail "after a removal: $(links)"
left=$(find "$root" -iname '*remapfs*' -o -iname '*faulty*')
[ -z "$left" ] || fail "left behind: $left"
