# SPDX-License-Identifier: Apache-2.0
"""What a volume costs besides its requests: mounting, memory, and relocating blocks."""

import os
import re
import time
from contextlib import contextmanager

from .lab import MIB, BenchError, command, until_done
from .path import fio


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        text = status.read()
    return {name: int(re.search(rf"^{key}:\s*(\d+)", text, re.MULTILINE).group(1))
            for name, key in (("resident_kib", "VmRSS"), ("peak_kib", "VmHWM"))}


def daemon_of(lab, map_path):
    """The process that serves a mounted volume: of those whose command line names its map the child of the other."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue  # it has ended
        if str(map_path).encode() in words and words[0].endswith(b"remapfs"):
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                found[int(pid)] = int(re.search(r"^PPid:\s*(\d+)", status.read(), re.MULTILINE).group(1))
    for pid, parent in found.items():
        if parent in found:
            return pid
    raise BenchError(f"no process serves {map_path}")


def run_mounts(lab, parent, entry_counts, block_size=512, stride=3):
    """Mounting and memory of volumes whose entries lie apart from each other, slots in another order than blocks."""
    with lab.folder(parent) as folder:
        for entries in entry_counts:
            primary, map_path = folder / f"primary{entries}", folder / f"map{entries}"
            with primary.open("wb") as file:
                file.truncate(max(entries, 2048) * stride * block_size)
            lab.create(map_path, primary, folder / f"spare{entries}", "--block-size", block_size, "--spare-size",
                       entries * (block_size + 100) + 16 * MIB)
            if entries:
                lab.fill_map(map_path, block_size, ((i * stride, i * 7919 % entries) for i in range(entries)))
        for turn in range(lab.rounds):
            for entries in entry_counts:
                map_path = folder / f"map{entries}"
                start = time.monotonic()
                with lab.mounted(map_path, folder / "mnt"):
                    took = time.monotonic() - start
                    lab.record(part="mount", place="disk", contender="virtual", question=f"{entries} entries",
                               round=turn, seconds=took, **resident_kib(daemon_of(lab, map_path)))


@contextmanager
def faulty_disk(lab, image, mountpoint):
    mountpoint.mkdir()
    command(lab.faulty_disk, "mount", image, mountpoint)
    try:
        yield mountpoint / "disk"
    finally:
        until_done(lab.faulty_disk, "unmount", mountpoint)


def run_relocations(lab, parent, block_size=4096):
    """Writes to blocks that all fail, each block once: every write relocates its block, durably, before it is answered."""
    counts = {1: 16 if lab.smoke else 500, 32: 64 if lab.smoke else 8000}
    a_round = sum(counts.values())
    bad = lab.rounds * a_round
    # Most of the disk works, or the volume would rightly take the whole of it for broken.
    good = max(4096, 11 * bad)
    with lab.folder(parent) as folder:
        image, map_path = folder / "image", folder / "map"
        lab.fill(image, (bad + good) * block_size)
        with faulty_disk(lab, image, folder / "faulty") as primary:
            lab.create(map_path, primary, folder / "spare", "--spare-size", (bad + 4096) * (block_size + 128) + 16 * MIB)
            command(lab.faulty_disk, "set", folder / "faulty", f"sectors=0-{bad * block_size // 512 - 1},op=write")
            with lab.mounted(map_path, folder / "mnt") as disk:
                # Blocks that work, for the probes to know.
                fio(disk, "randread 4k depth 32", 0.2, bad * block_size, good * block_size)
                first = 0
                for turn in range(lab.rounds):
                    for depth, count in counts.items():
                        values = fio(disk, f"randwrite 4k depth {depth}", 0, first * block_size, count * block_size,
                                     "--norandommap=0")
                        first += count
                        moved = lab.status(map_path)["remapped_blocks"]
                        if moved != first:
                            raise BenchError(f"{moved} blocks relocated after writing to {first} that fail")
                        lab.record(part="relocation", place="disk", contender="virtual", question=f"{depth} at once",
                                   round=turn, **values)
