# SPDX-License-Identifier: Apache-2.0
"""What entries cost on the path: the virtual disk with many of them against itself without any."""

import shutil
import sys

from .lab import rotated
from .path import WORKLOADS, fio

BLOCK = 4096
UNUSED = "64M"  # spares that only volumes without entries have
# What has entries is compared with this.
SAME_PLACES = "0 entries, same places"


def pairs_of(entries):
    """(block, slot) for `entries` entries: half of them in one piece, then the others in runs of 16 blocks with 16 blocks
    between them."""
    half = entries // 2
    runs = (half + block for block in range(entries) if block // 16 % 2 == 0)
    return list(zip([*range(half), *runs], range(entries)))


def areas_of(entries):
    """Where every, half and, behind them, no block has an entry: (first block, blocks, first of their slots) by share."""
    half = entries // 2
    return {0: (half + entries, min(half, 1 << 16), 0), 50: (half, entries, half), 100: (0, half, 0)}


def primary_bytes(entries):
    first, blocks, _ = areas_of(entries)[0]
    return (first + blocks) * BLOCK


def spare_bytes(entries):
    return entries * (BLOCK + 128) + (64 << 20)


def same_places(share, at_home, in_slots):
    """What a volume without entries would do if `share` per cent of its requests fell where the slots lie: no disk is
    equally fast everywhere."""
    def mean(of_home, of_slots):
        return (of_home * (100 - share) + of_slots * share) / 100

    rates = {name: 1 / mean(1 / at_home[name], 1 / in_slots[name]) for name in ("iops", "mib_per_s")}
    return {**rates, "p50_us": mean(at_home["p50_us"], in_slots["p50_us"])}


class Volume:
    """A volume with entries, and two without any: one on the same primary, one whose primary is the spare."""

    def __init__(self, lab, place, folder, entries):
        self.lab, self.place, self.folder, self.entries = lab, place, folder, entries
        self.areas = areas_of(entries)
        spare, self.map, self.map_of_slots = (folder / f"{name}{entries}" for name in ("spare", "map", "slots"))
        lab.fill(spare, spare_bytes(entries))
        lab.create(self.map_of_slots, spare, folder / f"unused{entries}", "--spare-size", UNUSED)
        lab.create(self.map, folder / "primary", spare)
        lab.fill_map(self.map, BLOCK, pairs_of(entries))
        self.slots = lab.first_slot(self.map)

    def measure(self, share, turn):
        first, blocks, slot = self.areas[share]
        home = ("0 entries", self.folder / "map0", first * BLOCK, blocks)
        slots = ("0 entries, in the slots", self.map_of_slots, self.slots + slot * BLOCK, blocks * share // 100)
        ours = (f"{self.entries} entries", self.map, first * BLOCK, blocks)
        found = {}
        contenders = [home, slots, ours] if share else [home, ours]
        for contender, map_path, offset, count in rotated(contenders, turn):
            with self.lab.mounted(map_path, self.folder / "mnt") as disk:
                for question in WORKLOADS:
                    found[contender, question] = fio(disk, question, self.lab.seconds, offset, count * BLOCK)
        for question in WORKLOADS:
            at_home = found[home[0], question]
            found[SAME_PLACES, question] = same_places(share, at_home, found.get((slots[0], question), at_home))
        for contender, question in sorted(found, key=lambda key: key[0] != SAME_PLACES):
            self.lab.record(part="remapped", place=f"{self.place}, {self.entries} entries, {share} % of the requests on them",
                            contender=contender, question=question, round=turn, **found[contender, question])


def room(parent):
    """Bytes that may be used in a folder: where files are in memory, not all of it."""
    with open("/proc/meminfo", encoding="ascii") as lines:
        available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    free = shutil.disk_usage(parent).free
    return min(free, available * 3 // 4) if str(parent).startswith("/dev/shm") else free


def run(lab, place, parent, entry_counts):
    """All volumes in turn. One that has no room is left out, and named."""
    for entries in sorted(entry_counts):
        needed = primary_bytes(entries) + sum(spare_bytes(n) for n in entry_counts if n <= entries) + (1 << 28)
        if needed > room(parent):
            print(f"bench/run: {entries} entries left out: {parent} has not {needed >> 20} MiB", file=sys.stderr)
            entry_counts = [n for n in entry_counts if n < entries]
    if not entry_counts:
        return
    with lab.folder(parent) as folder:
        lab.fill(folder / "primary", primary_bytes(max(entry_counts)))
        lab.create(folder / "map0", folder / "primary", folder / "spare0", "--spare-size", UNUSED)
        volumes = [Volume(lab, place, folder, entries) for entries in entry_counts]
        for turn in range(lab.rounds):
            for volume in volumes:
                for share in volume.areas:
                    volume.measure(share, turn)
