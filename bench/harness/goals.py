# SPDX-License-Identifier: Apache-2.0
"""The goals, and how far the results of one run are from them."""

from dataclasses import dataclass
from typing import Callable

from .remapped import SAME_PLACES

D32_READ, D32_WRITE = "randread 4k depth 32", "randwrite 4k depth 32"
SEQUENTIAL = ("read 1M depth 4", "write 1M depth 4")
MILLION = "001000000"


class Results:
    """Medians of one run, by part, place, contender and question."""

    def __init__(self, rows):
        self._rows = {(r["part"], r["place"], r["contender"], r["question"]): r["values"] for r in rows}

    def value(self, part, place, contender, question, name):
        """A median; None when it was not measured."""
        return self._rows.get((part, place, contender, question), {}).get(name)


@dataclass(frozen=True)
class Measured:
    """One figure that has to be at least, or at most, the limit. None: not measured in this run."""

    label: str
    figure: float | None
    limit: float
    at_least: bool
    unit: str = ""

    @property
    def met(self):
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


@dataclass(frozen=True)
class Goal:
    what: str
    measure: Callable  # Results -> list of Measured


def _ratio(above, below):
    return None if above is None or not below else above / below


def _path(results, place, contender, base, question, limit, name="iops"):
    return Measured(question.split(" ")[0], _ratio(results.value("path", place, contender, question, name),
                                                   results.value("path", place, base, question, name)), limit, True)


def _pair(place, contender, base, questions, limits):
    return lambda results: [_path(results, place, contender, base, question, limit)
                            for question, limit in zip(questions, limits)]


def _depth_1(results):
    def figure(question):
        raw, ours, noop = (results.value("path", "disk", who, question, "p50_us") for who in ("raw", "virtual", "noop"))
        if None in (raw, ours, noop):
            return None, 0
        return ours, raw + 1.1 * noop

    return [Measured(question.split(" ")[0], *figure(question), False, " us")
            for question in ("randread 4k depth 1", "randwrite 4k depth 1")]


def _remapped(results):
    def ratio(question):
        place = "disk, 1000000 entries, 50 % of the requests on them"
        ours, base = (results.value("remapped", place, contender, question, "iops")
                      for contender in ("1000000 entries", SAME_PLACES))
        return _ratio(ours, base)

    return [Measured(q.split(" ")[0], ratio(q), 0.97, True) for q in (D32_READ, D32_WRITE)]


def _untouched(results):
    return [Measured(label, results.value("table", place, "table", "untouched_1MiB", "ns"), limit, False, " ns")
            for label, place, limit in (("no remaps", "000000000", 2), ("1 M elsewhere", MILLION, 10))]


def _table_ratio(results, question, place, peer="boost_flat_map"):
    return _ratio(results.value("table", place, "table", question, "ns"), results.value("table", place, peer, question, "ns"))


def _hits(results):
    alone = [Measured(label, _table_ratio(results, question, MILLION), 1.0, False) for label, question in
             (("runs of 256", "hit_runs_of_256"), ("runs of 16", "hit"), ("isolated", "hit_isolated"))]
    beside = _ratio(results.value("table", MILLION, "table", "hit_1_readers_and_writer", "ns"),
                    results.value("table", MILLION, "boost_flat_map", "hit", "ns"))
    locked = _table_ratio(results, "hit_1_readers_and_writer", MILLION, "boost_flat_map_locked")
    return [*alone, Measured("runs of 16 beside a writer, boost without one", beside, 1.0, False),
            Measured("runs of 16 beside a writer, boost behind a shared lock beside one", locked, 1.0, False)]


def _batches(results):
    return [Measured(label, _table_ratio(results, "remapped_1MiB", place), 0.4, False)
            for label, place in (("1000 entries", "000001000"), ("1 M", MILLION))]


def _memory(results):
    return [Measured("10 M", results.value("table", "010000000", "table", "hit", "bytes_per_entry"), 32, False, " bytes")]


def _mounts(results):
    return [Measured(label, results.value("mount", "disk", "virtual", f"{entries} entries", "seconds"), limit, False, " s")
            for label, entries, limit in (("1 M", 1_000_000, 0.7), ("10 M", 10_000_000, 6))]


def _relocations(results):
    many, one = (results.value("relocation", "disk", "virtual", f"{n} at once", "iops") for n in (32, 1))
    return [Measured("32 at once", _ratio(many, one), 8, True)]


GOALS = (
    Goal("virtual file / raw file, disk, 4 KiB, depth 32", _pair("disk", "virtual", "raw", (D32_READ, D32_WRITE), (0.9, 0.9))),
    Goal("latency at depth 1, disk: at most raw + 1.1 round trips of the no-op server", _depth_1),
    Goal("virtual file / raw file, disk, 1 MiB sequential", _pair("disk", "virtual", "raw", SEQUENTIAL, (0.85, 0.85))),
    Goal("loop on the virtual file / loop on the raw file, disk, depth 32",
         _pair("disk", "loop_virtual", "loop_raw", (D32_READ, D32_WRITE), (0.9, 0.9))),
    Goal("loop on the virtual file / loop on the raw file, disk, 1 MiB",
         _pair("disk", "loop_virtual", "loop_raw", SEQUENTIAL, (0.85, 0.85))),
    Goal("virtual file / qemu's FUSE export, tmpfs, depth 32",
         _pair("memory", "virtual", "qemu", (D32_READ, D32_WRITE), (3.5, 3.5))),
    Goal("virtual file / qemu's FUSE export, tmpfs, 1 MiB", _pair("memory", "virtual", "qemu", SEQUENTIAL, (4, 4))),
    Goal("virtual file / qemu's FUSE export, disk, depth 32",
         _pair("disk", "virtual", "qemu", (D32_READ, D32_WRITE), (1.5, 2))),
    Goal("virtual file / no-op FUSE server, tmpfs, depth 32",
         _pair("memory", "virtual", "noop", (D32_READ, D32_WRITE), (0.92, 0.92))),
    Goal("1 M remaps, half of the requests on them / no remaps", _remapped),
    Goal("untouched lookup of a 1 MiB range", _untouched),
    Goal("hit at 1 M entries / boost::unordered_flat_map", _hits),
    Goal("256 remapped neighbours in one batch / 256 single lookups in boost::unordered_flat_map", _batches),
    Goal("memory for each entry", _memory),
    Goal("mount after a clean unmount", _mounts),
    Goal("blocks relocated in a second, durably / one at a time", _relocations),
)


def standing(results):
    """(goal, its Measured) for each goal, in order."""
    return [(goal, goal.measure(results)) for goal in GOALS]
