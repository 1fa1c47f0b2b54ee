#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""acknowledged.py fill|load|compare DISK JOURNAL [SEED]: does a disk hold what it acknowledged?

Every sector names its place and the write that it is of. The journal has a line for each write, in sectors:
TIME WRITE FIRST COUNT stored|refused. A sector holds what was stored in it last, or what was refused since; what was
read of it then is what it holds from then on (seen). Sectors refused since are the only ones that may be unreadable.

fill     writes the whole disk once; nothing may be refused
load     writes and reads at random places, several requests at a time, until SIGTERM, after SIGUSR1 in the second half
         only; refused writes do not end it
compare  reads every sector, and prints as JSON how many there are of what kind"""
import errno
import itertools
import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time

SECTOR = 512
SMALLEST, LARGEST = 8, 128  # sectors of a request: 4 KiB to 64 KiB
THREADS = 8


class Wrong(Exception):
    pass


def contents(sector, write):
    return struct.pack("<QQ", sector, write) * (SECTOR // 16)


class Journal:
    """What each sector may hold, in memory and on disk. One thread at a time for each sector."""

    def __init__(self, path, sectors):
        self.stored = [0] * sectors  # the write acknowledged last
        self.refused = {}  # of a sector: the writes refused since
        self.refusals = []
        self.lock = threading.Lock()
        last = 0
        with open(path, "a+", encoding="utf-8") as file:
            file.seek(0)
            for line in file:
                _, write, first, count, outcome = line.split()
                last = max(last, int(write))
                self.remember(int(write), int(first), int(count), outcome)
        self.writes = itertools.count(last + 1)
        self.file = open(path, "a", encoding="utf-8", buffering=1)

    def remember(self, write, first, count, outcome):
        if outcome == "refused":
            self.refusals.append(write)
            for sector in range(first, first + count):
                self.refused.setdefault(sector, []).append(write)
            return
        self.stored[first:first + count] = [write] * count
        for sector in range(first, first + count):
            self.refused.pop(sector, None)

    def enter(self, begun, write, first, count, outcome):
        if count == 0:
            return
        with self.lock:
            self.remember(write, first, count, outcome)
            self.file.write(f"{begun:.6f} {write} {first} {count} {outcome}\n")

    def judge(self, sector, data):
        later = self.refused.get(sector, [])
        for write in [self.stored[sector], *later]:
            if data == contents(sector, write):
                if later:
                    self.enter(time.time(), write, sector, 1, "seen")
                return
        place, write = struct.unpack_from("<QQ", data)
        raise Wrong(f"sector {sector} has to hold write {self.stored[sector]}, or one of {later} which were refused; "
                    f"it begins as write {write} of sector {place}")


class Disk:
    """The disk past every cache. Each thread has one of its own."""

    def __init__(self, path, journal_path=None, journal=None):
        self.file = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.sectors = os.lseek(self.file, 0, os.SEEK_END) // SECTOR
        self.memory = memoryview(mmap.mmap(-1, LARGEST * SECTOR))
        self.journal = journal or Journal(journal_path, self.sectors)

    def write(self, first, count):
        """False: refused, at least in part."""
        journal = self.journal
        write, begun = next(journal.writes), time.time()
        piece = self.memory[:count * SECTOR]
        piece[:] = b"".join(contents(sector, write) for sector in range(first, first + count))
        try:
            stored = os.pwritev(self.file, [piece], first * SECTOR) // SECTOR
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ENOSPC):
                raise
            stored = 0
        journal.enter(begun, write, first, stored, "stored")
        journal.enter(begun, write, first + stored, count - stored, "refused")
        return stored == count

    def read(self, first, count):
        """Compares; the number of sectors that could not be read."""
        piece = self.memory[:count * SECTOR]
        try:
            if os.preadv(self.file, [piece], first * SECTOR) != len(piece):
                raise Wrong(f"sectors {first} to {first + count - 1} cannot be read as a whole")
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            if count > 1:
                return sum(self.read(sector, 1) for sector in range(first, first + count))
            if first not in self.journal.refused:
                write = self.journal.stored[first]
                raise Wrong(f"sector {first} cannot be read, write {write} was stored there") from error
            return 1
        for i in range(count):
            self.journal.judge(first + i, bytes(piece[i * SECTOR:(i + 1) * SECTOR]))
        return 0


class Load:
    def __init__(self, path, journal_path, seed):
        self.path, self.seed = path, seed
        self.first = Disk(path, journal_path)
        self.begin = 0  # of the sectors it uses
        self.busy = bytearray(self.first.sectors)
        self.lock = threading.Lock()
        self.enough = threading.Event()
        self.trouble = []

    def claim(self, rng):
        """A place at which nobody else is at work. Every second one is that of whole blocks."""
        while True:
            grid = rng.choice((1, SMALLEST))
            count = rng.randint(SMALLEST, LARGEST) // grid * grid
            first = rng.randint(self.begin, self.first.sectors - count) // grid * grid
            with self.lock:
                if self.busy.find(1, first, first + count) < 0:
                    self.busy[first:first + count] = b"\1" * count
                    return first, count

    def work(self, number):
        try:
            rng = random.Random(f"{self.seed} {number}")
            disk = Disk(self.path, journal=self.first.journal)
            while not self.enough.is_set():
                first, count = self.claim(rng)
                if rng.randrange(4) == 0:
                    disk.read(first, count)
                else:
                    disk.write(first, count)
                self.busy[first:first + count] = bytes(count)
        except (OSError, Wrong) as error:
            self.trouble.append(str(error))
            self.enough.set()

    def keep_to_second_half(self):
        self.begin = self.first.sectors // 2

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: self.enough.set())
        signal.signal(signal.SIGUSR1, lambda *_: self.keep_to_second_half())
        threads = [threading.Thread(target=self.work, args=(i,)) for i in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return "\n".join(self.trouble) or 0


def pieces(disk):
    return ((first, min(LARGEST, disk.sectors - first)) for first in range(0, disk.sectors, LARGEST))


def fill(disk):
    for first, count in pieces(disk):
        if not disk.write(first, count):
            raise Wrong(f"the first write to sectors {first} to {first + count - 1} was refused")


def compare(disk):
    journal = disk.journal
    sure = [write for sector, write in enumerate(journal.stored) if sector not in journal.refused]
    begin = min(journal.refusals, default=next(journal.writes))
    end = max(journal.refusals, default=begin)
    found = {"stored_before_refusals": sum(write < begin for write in sure),
             "stored_between": sum(begin <= write <= end for write in sure),
             "stored_after": sum(write > end for write in sure),
             "refused_since": len(journal.refused),
             "unreadable": sum(disk.read(first, count) for first, count in pieces(disk))}
    print(json.dumps(found))


def main(verb, path, journal, seed="1"):
    if verb == "load":
        return Load(path, journal, seed).run()
    try:
        {"fill": fill, "compare": compare}[verb](Disk(path, journal))
    except Wrong as wrong:
        return str(wrong)
    return 0


sys.exit(main(*sys.argv[1:]))
