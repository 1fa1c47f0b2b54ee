# SPDX-License-Identifier: Apache-2.0
"""Where measurements happen: programs, folders, sizes, and the file that keeps every sample."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


class BenchError(Exception):
    """Something that had to work did not; its text is for the user."""


def command(*arguments, stdin=None):
    """Runs a program to its end and returns what it printed. Raises BenchError when it fails."""
    pipe = subprocess.PIPE
    with subprocess.Popen([str(a) for a in arguments], stdin=pipe if stdin else subprocess.DEVNULL, stdout=pipe, stderr=pipe,
                          text=True, start_new_session=True) as process:
        try:
            out, errors = process.communicate(stdin)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # fio's jobs are processes of their own
            raise
    if process.returncode != 0:
        raise BenchError(f"{' '.join(str(a) for a in arguments[:8])}: exit code {process.returncode}: {errors.strip()}")
    return out


def wait_until(condition, what, seconds=5):
    """Returns as soon as condition() is true. Raises BenchError when that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def until_done(*arguments):
    """Runs a program that takes something away until it succeeds: users let go a moment after they have ended."""
    wait_until(lambda: subprocess.run([str(a) for a in arguments], capture_output=True).returncode == 0,
               " ".join(str(a) for a in arguments))


def rotated(contenders, turn):
    """The contenders in the order of a round: another one begins each time. Whoever comes next may find the disk busy
    with what was written before, and should not always be the same one."""
    first = turn % len(contenders)
    return [*contenders[first:], *contenders[:first]]


@dataclass
class Lab:
    """All that the measurements share."""

    build: Path  # of programs
    out: Path  # results
    directory: Path  # on the file system called "disk"
    rounds: int
    seconds: float  # of one fio measurement
    mib: int  # size of the disk
    smoke: bool  # everything once and short; the figures mean nothing

    def __post_init__(self):
        self.remapfs = self.build / "src/cli/remapfs"
        self.faulty_disk = self.build / "tools/faulty-disk/faulty-disk"
        self.samples = self.out / "samples.jsonl"
        self.samples.write_text("")

    def program(self, part, name):
        """A program of bench/."""
        return self.build / "bench" / part / name

    def record(self, **sample):
        """Keeps one sample: part, place, contender, question, round, and values by name."""
        with self.samples.open("a") as file:
            file.write(json.dumps(sample) + "\n")

    def samples_taken(self):
        return [json.loads(line) for line in self.samples.read_text().splitlines()]

    @contextmanager
    def folder(self, parent):
        """A folder for one part, gone afterwards."""
        path = Path(tempfile.mkdtemp(prefix="remapfs-bench-", dir=parent))
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def fill(self, path, size):
        """Makes a file whose every byte has been written: unwritten extents are another path of the file system."""
        command("fio", "--name=fill", f"--filename={path}", "--rw=write", "--bs=1M", f"--size={size}", "--direct=1",
                "--ioengine=libaio", "--iodepth=4", "--end_fsync=1", "--output=/dev/null")

    def create(self, map_path, primary, spare, *options):
        command(self.remapfs, "create", map_path, "--primary", primary, "--spare", spare, *options)

    def fill_map(self, map_path, block_size, pairs):
        """Gives an unmounted volume an entry for each (block, slot)."""
        command(self.program("volume", "bench_fill_map"), map_path, block_size,
                stdin="".join(f"{block} {slot}\n" for block, slot in pairs))

    def first_slot(self, map_path):
        """Where slot 0 of a volume's only spare begins, in bytes."""
        return int(command("sqlite3", "-readonly", map_path, "SELECT first_slot FROM devices WHERE role = 'spare'"))

    def status(self, target):
        return json.loads(command(self.remapfs, "status", target, "-J"))

    @contextmanager
    def mounted(self, map_path, mountpoint, *options):
        """A mounted volume; the value is its disk."""
        mountpoint.mkdir(exist_ok=True)
        command(self.remapfs, "mount", map_path, mountpoint, *options)
        try:
            yield mountpoint / "disk"
        finally:
            until_done(self.remapfs, "unmount", map_path)
