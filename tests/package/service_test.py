#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""service_test.py SOURCE_DIR BUILD_DIR REMAPFS: what a service manager is told, over a socket of the test's own: that the
volume is ready, signs of life, reloads; and what SIGHUP does to whom."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

program = sys.argv[3]
folder = tempfile.TemporaryDirectory(dir="/var/tmp", prefix="remapfs-service.")
work = pathlib.Path(folder.name)
map_path, mount_point = work / "map", work / "mnt"


def remapfs(*words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"remapfs {words}: {done.stderr}"
    return done.stdout


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(work / "notify"))

    def next(self, timeout=20):
        """The next message, but for those about descriptors that are to be kept."""
        self.socket.settimeout(timeout)
        while (message := self.socket.recv(4096).decode()).startswith("FDSTORE"):
            pass
        return message

    def next_but_signs(self):
        while (message := self.next()) == "WATCHDOG=1":
            pass
        return message

    def close(self):
        self.socket.close()
        (work / "notify").unlink()


def start(**environment):
    return subprocess.Popen([program, "mount", "-f", map_path, mount_point], env={**os.environ, **environment},
                            stderr=open(work / "log", "w", encoding="utf-8"))


def end(process, how):
    process.send_signal(how)
    code = process.wait(timeout=30)
    assert code == 0, f"it ended with {code}: {(work / 'log').read_text()}"
    assert not os.path.ismount(mount_point)


def watched_service_gives_signs_of_life_and_reloads():
    manager = Manager()
    service = start(NOTIFY_SOCKET=str(work / "notify"), WATCHDOG_USEC="400000")
    assert manager.next_but_signs() == f"READY=1\nSTATUS=serving {mount_point}"
    assert os.path.ismount(mount_point), "ready before it is mounted"
    begin = time.monotonic()
    for _ in range(6):
        assert manager.next(0.4) == "WATCHDOG=1"
    assert time.monotonic() - begin > 0.5, "more signs than were asked for"
    service.send_signal(signal.SIGHUP)
    assert manager.next_but_signs().startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert manager.next_but_signs() == "READY=1"
    with open(mount_point / "disk", "rb") as disk:
        # In use: told to end it says why, and goes on.
        service.send_signal(signal.SIGTERM)
        status = manager.next_but_signs()
        assert status.startswith("STATUS=in use, "), status
        assert disk.read(10) == b"0123456789"
        assert manager.next(0.4) == "WATCHDOG=1"
    end(service, signal.SIGTERM)
    manager.close()


def service_of_another_watchdog_is_quiet():
    manager = Manager()
    service = start(NOTIFY_SOCKET=str(work / "notify"), WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    manager.next()
    try:
        raise AssertionError(f"it said {manager.next(0.5)}")
    except TimeoutError:
        pass
    end(service, signal.SIGTERM)
    manager.close()


def hangup_ends_what_runs_on_a_terminal():
    service = start()
    while " serves " not in (work / "log").read_text():
        time.sleep(0.02)
    end(service, signal.SIGHUP)


def hangup_does_not_end_a_daemon():
    remapfs("mount", map_path, mount_point)
    status = remapfs("status", map_path, "-J")
    daemon = int(status.partition('"daemon_pid":')[2].split(",")[0])
    os.kill(daemon, signal.SIGHUP)
    with open(mount_point / "disk", "rb") as disk:
        assert disk.read(10) == b"0123456789"
    assert os.path.ismount(mount_point)
    remapfs("unmount", map_path)


try:
    mount_point.mkdir()
    (work / "primary").write_bytes(b"0123456789" * 1048576)
    remapfs("create", map_path, "--primary", work / "primary", "--spare", work / "spare", "--spare-size", "2M")
    for case in (watched_service_gives_signs_of_life_and_reloads, service_of_another_watchdog_is_quiet,
                 hangup_ends_what_runs_on_a_terminal, hangup_does_not_end_a_daemon):
        case()
        print(f"ok: {case.__name__}")
finally:
    subprocess.run([program, "unmount", "--force", map_path], capture_output=True, timeout=60)
    folder.cleanup()
