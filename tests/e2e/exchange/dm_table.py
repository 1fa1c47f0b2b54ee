#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""dm_table.py TABLE DISK: interprets a table of the device mapper and compares every sector with the mounted disk.

A line is START LENGTH linear DEVICE OFFSET or START LENGTH error, in sectors. The lines have to cover the disk once, in
order, and none may go on where the one before it ends."""
import errno
import os
import sys

SECTOR = 512


class Table:
    def __init__(self, path):
        self.lines = []
        self.devices = {}
        with open(path, encoding="utf-8") as file:
            for line in file:
                if not line.startswith("#"):
                    self.add(line.split())

    def add(self, words):
        start, length, kind = int(words[0]), int(words[1]), words[2]
        end = self.lines[-1][1] if self.lines else 0
        assert start == end and length > 0, f"hole or overlap at {start}"
        if kind == "error":
            assert len(words) == 3, words
            place = None
        else:
            assert kind == "linear" and len(words) == 5, words
            place = (words[3], int(words[4]))
        if self.lines:
            before_start, before_end, before = self.lines[-1]
            goes_on = before is None and place is None
            if before is not None and place is not None and before[0] == place[0]:
                goes_on = before[1] + before_end - before_start == place[1]
            assert not goes_on, f"two lines for one stretch at {start}"
        self.lines.append((start, start + length, place))

    def sectors(self):
        for start, end, place in self.lines:
            if place is None:
                yield from (None for _ in range(start, end))
                continue
            device = self.devices.setdefault(place[0], os.open(place[0], os.O_RDONLY))
            for i in range(end - start):
                data = os.pread(device, SECTOR, (place[1] + i) * SECTOR)
                assert len(data) == SECTOR, f"the table goes past the end of {place[0]}"
                yield data


def read_sector(disk, sector):
    try:
        return os.pread(disk, SECTOR, sector * SECTOR)
    except OSError as error:
        assert error.errno == errno.EIO, error
        return None


def main():
    table = Table(sys.argv[1])
    disk = os.open(sys.argv[2], os.O_RDONLY)
    size = os.fstat(disk).st_size
    assert table.lines[-1][1] * SECTOR == size, f"the table has {table.lines[-1][1]} sectors, the disk {size} bytes"
    errors = 0
    for sector, expected in enumerate(table.sectors()):
        assert read_sector(disk, sector) == expected, f"sector {sector} differs"
        errors += expected is None
    print(f"{size // SECTOR} sectors in {len(table.lines)} lines are the same, {errors} of them errors")


main()
