# SPDX-License-Identifier: Apache-2.0
"""Who is measured on the path. A contender is a context whose value is the file or device to read and write; all that
have a disk below have the same one, `primary` in the folder of the part."""

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from .lab import BenchError, command, until_done, wait_until


@contextmanager
def loop_device(file):
    """A loop device with direct I/O over a file."""
    device = command("losetup", "--find", "--show", "--direct-io=on", file).strip()
    try:
        if Path(f"/sys/block/{Path(device).name}/loop/dio").read_text().strip() != "1":
            raise BenchError(f"{device}: no direct I/O on {file}")
        yield device
    finally:
        command("losetup", "--detach", device)


@contextmanager
def served(arguments, is_ready, stop):
    """A server in the foreground, while it runs; stop(process) makes it end."""
    process = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_ready() or process.poll() is not None, str(arguments[0]))
        yield
    finally:
        stop(process)
        process.wait()


class Contenders:
    """The contenders of one folder."""

    def __init__(self, lab, folder):
        self.lab = lab
        self.folder = folder
        self.primary = folder / "primary"
        self.map = folder / "map"
        self.size = lab.mib << 20
        lab.fill(self.primary, self.size)
        lab.create(self.map, self.primary, folder / "spare", "--spare-size", "64M")

    @contextmanager
    def raw(self):
        yield self.primary

    def virtual(self, *options):
        return self.lab.mounted(self.map, self.folder / "mnt", *options)

    def virtual_blocking(self):
        return self.virtual("-o", "engine=blocking")

    def loop_raw(self):
        return loop_device(self.primary)

    @contextmanager
    def loop_virtual(self):
        with self.virtual() as disk, loop_device(disk) as device:
            yield device

    @contextmanager
    def noop(self):
        mountpoint = self.folder / "noop"
        mountpoint.mkdir(exist_ok=True)
        disk = mountpoint / "disk"
        server = [self.lab.program("path", "bench_noop_server"), mountpoint, self.size, 2]
        with served(server, disk.exists, lambda process: until_done("umount", mountpoint)):
            yield disk

    def _export(self, arguments, stop):
        """A server that mounts itself over a file, which then has the size of the disk."""
        export = self.folder / "export"
        export.write_bytes(b"")
        return served(arguments(export), lambda: export.stat().st_size == self.size, lambda process: stop(process, export))

    @contextmanager
    def qemu(self):
        def arguments(export):
            node = f"driver=file,node-name=f,filename={self.primary},cache.direct=on,aio=io_uring"
            return ["qemu-storage-daemon", "--blockdev", node, "--export",
                    f"type=fuse,id=e,node-name=f,mountpoint={export},writable=on"]

        with self._export(arguments, lambda process, export: process.terminate()):
            yield self.folder / "export"

    @contextmanager
    def nbdfuse(self):
        def arguments(export):
            return ["nbdfuse", export, "[", "nbdkit", "--exit-with-parent", "file", self.primary, "]"]

        with self._export(arguments, lambda process, export: until_done("umount", export)):
            yield self.folder / "export"


NEEDS = {"qemu": ("qemu-storage-daemon", "qemu-system-common"), "nbdfuse": ("nbdfuse", "libnbd-bin")}


def missing(name):
    """What a contender needs that is not installed, as words; None when nothing is."""
    program, package = NEEDS.get(name, (None, None))
    return None if program is None or shutil.which(program) else f"{program} (Debian: {package})"
