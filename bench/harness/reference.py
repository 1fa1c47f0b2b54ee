# SPDX-License-Identifier: Apache-2.0
"""The tests that the reference design was published with: the same sectors, asked its way and so that the answer means
something."""

import json
import mmap
import os
import random
import statistics
import subprocess
import time
from dataclasses import dataclass

from .contenders import loop_device
from .lab import MIB, BenchError, command

SECTOR = 512


@dataclass(frozen=True)
class Test:
    """Reads of remapped sectors; `asked` in order, `warm_ups` reads before."""

    name: str
    pairs: tuple  # (sector of the primary, slot): what is remapped for it
    asked: tuple  # sectors
    warm_ups: int = 0


@dataclass(frozen=True)
class Setup:
    primary_mib: int
    spare_mib: int
    tests: tuple

    def pairs(self):
        return sorted({pair for test in self.tests for pair in test.pairs})


def _series(first, slot, step, count):
    return tuple((first + step * i, slot + step * i) for i in range(count))


def _sectors(pairs):
    return tuple(block for block, _ in pairs)


_TEN = _series(4000, 6000, 100, 10)
_HUNDRED = _series(10_000, 100_000, 100, 100)
_THOUSAND = _series(50_000, 500_000, 10, 1000)
SETUPS = (
    Setup(100, 50, (
        Test("single remap", ((1000, 5000),), (1000,)),
        Test("cached access", ((2000, 5100),), (2000,) * 10, warm_ups=3),
        Test("distribution", ((3000, 5200),), (3000,) * 100),
        Test("ten remaps", _TEN, _sectors(_TEN)),
    )),
    Setup(500, 300, (Test("scale 100", _HUNDRED, _sectors(_HUNDRED)),)),
    Setup(1000, 800, (
        Test("scale 1000", _THOUSAND, _sectors(_THOUSAND)),
        Test("stress 50", _THOUSAND, tuple(random.Random(50).sample(_sectors(_THOUSAND), 50))),
    )),
)
UNTOUCHED = 9_001  # a sector that no test remaps


def _text(kind, number):
    return f"{kind} {number} ".encode().ljust(SECTOR, b".")


def _put(path, places):
    with open(path, "r+b") as file:
        for offset, data in places:
            file.seek(offset)
            file.write(data)
        os.fsync(file.fileno())


def _read_sectors(path, sectors):
    """The contents of sectors, past every cache."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, mmap.PAGESIZE)
    try:
        for sector in sectors:
            if os.preadv(file, [memoryview(buffer)[:SECTOR]], sector * SECTOR) != SECTOR:
                raise BenchError(f"{path}: sector {sector}: short read")
            yield sector, bytes(buffer[:SECTOR])
    finally:
        os.close(file)


def _check_contents(path, setup):
    """Remapped sectors come from their slots, others from the primary."""
    wanted = {block: _text("slot", slot) for block, slot in setup.pairs()}
    wanted[UNTOUCHED] = _text("primary", UNTOUCHED)
    for sector, data in _read_sectors(path, wanted):
        if data != wanted[sector]:
            raise BenchError(f"{path}: sector {sector} is {data[:32]!r}, not {wanted[sector][:32]!r}")


def _make_volumes(lab, folder, setup):
    """A volume with the remaps of a setup and one without any, over the same primary. What returns mounts one, by name."""
    primary, spare, map_path = folder / "primary", folder / "spare", folder / "map"
    lab.fill(primary, setup.primary_mib * MIB)
    lab.fill(spare, setup.spare_mib * MIB)
    lab.create(map_path, primary, spare, "--block-size", SECTOR)
    lab.fill_map(map_path, SECTOR, setup.pairs())
    first_slot = lab.first_slot(map_path)
    _put(primary, ((s * SECTOR, _text("primary", s)) for s in (*_sectors(setup.pairs()), UNTOUCHED)))
    _put(spare, ((first_slot + slot * SECTOR, _text("slot", slot)) for _, slot in setup.pairs()))
    lab.create(folder / "empty-map", primary, folder / "empty-spare", "--spare-size", "4M", "--block-size", SECTOR)
    maps = {"remapped": map_path, "no remaps": folder / "empty-map"}
    return lambda name: lab.mounted(maps[name], folder / "mnt")


def _dd_milliseconds(path, sector):
    start = time.monotonic()
    subprocess.run(["dd", f"if={path}", "of=/dev/null", f"bs={SECTOR}", "count=1", f"skip={sector}", "iflag=direct"],
                   stderr=subprocess.DEVNULL, check=True)
    return (time.monotonic() - start) * 1000


def _their_way(path, test):
    """One dd a read. Most of the time is the start of a process, whatever is read."""
    for _ in range(test.warm_ups):
        _dd_milliseconds(path, test.asked[0])
    samples = [_dd_milliseconds(path, sector) for sector in test.asked]
    return {"dd_ms": statistics.median(samples)}


def _reads(lab, path, sectors):
    repeats = 100 if lab.smoke else 10_000
    result = json.loads(command(lab.program("reference", "bench_direct_reads"), path, repeats, *sectors))
    return {key.replace("_ns", "_us"): value / 1000 for key, value in result.items() if key.endswith("_ns")}


def run(lab, parent):
    """Every test on the virtual file and on a loop device over it, with its controls."""
    for setup in SETUPS[:1] if lab.smoke else SETUPS:
        with lab.folder(parent) as folder:
            mounted = _make_volumes(lab, folder, setup)
            for turn in range(lab.rounds):
                _run_controls(lab, folder / "primary", mounted, setup, turn)
                with mounted("remapped") as disk, loop_device(disk) as device:
                    _run_tests(lab, "file", disk, setup, turn)
                    _run_tests(lab, "loop", device, setup, turn)


def _run_tests(lab, place, path, setup, turn):
    _check_contents(path, setup)
    for test in setup.tests:
        lab.record(part="reference", place=place, contender="remapped", question=test.name, round=turn,
                   **_their_way(path, test), **_reads(lab, path, test.asked))
    lab.record(part="reference", place=place, contender="neighbour without a remap", question=setup.tests[0].name,
               round=turn, **_reads(lab, path, (UNTOUCHED,)))


def _run_controls(lab, primary, mounted, setup, turn):
    """The same sectors on the raw file, and on a volume that has no remaps."""
    def measure(place, path, contender):
        for test in setup.tests:
            lab.record(part="reference", place=place, contender=contender, question=test.name, round=turn,
                       **_reads(lab, path, test.asked))

    measure("file", primary, "raw")
    with loop_device(primary) as device:
        measure("loop", device, "raw")
    with mounted("no remaps") as disk, loop_device(disk) as device:
        measure("file", disk, "no remaps")
        measure("loop", device, "no remaps")
