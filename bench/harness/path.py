# SPDX-License-Identifier: Apache-2.0
"""fio on the virtual disk and its rivals."""

import json
import os
import sys

from .contenders import Contenders, missing
from .lab import BenchError, command, rotated

# Question: fio's kind, block size and depth.
WORKLOADS = {
    "randread 4k depth 32": ("randread", "4k", 32),
    "randwrite 4k depth 32": ("randwrite", "4k", 32),
    "randread 4k depth 1": ("randread", "4k", 1),
    "randwrite 4k depth 1": ("randwrite", "4k", 1),
    "read 1M depth 4": ("read", "1M", 4),
    "write 1M depth 4": ("write", "1M", 4),
}


def busy_seconds():
    """CPU time of the whole machine that was neither idle nor stolen, since it started."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, idle, iowait, irq, softirq, *_ = (int(word) for word in stat.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def fio(target, question, seconds, offset, size, *options):
    """One measurement of fio on part of a file or device, as values by name."""
    kind, block, depth = WORKLOADS[question]
    before = busy_seconds()
    text = command("fio", "--name=x", f"--filename={target}", f"--rw={kind}", f"--bs={block}", f"--iodepth={depth}",
                   "--ioengine=libaio", "--direct=1", f"--offset={offset}", f"--size={size}", "--randrepeat=0",
                   "--lat_percentiles=1", "--clat_percentiles=0", "--output-format=json",
                   *(options or ("--time_based", f"--runtime={int(seconds * 1000)}ms", "--norandommap=1")))
    busy = busy_seconds() - before
    job = json.loads(text[text.index("{"):])["jobs"][0]
    side = job["read"] if job["read"]["total_ios"] else job["write"]
    if job["error"] or not side["total_ios"]:
        raise BenchError(f"fio on {target}, {question}: error {job['error']}, {side['total_ios']} requests")
    microseconds = {name: side["lat_ns"]["percentile"][key] / 1000
                    for name, key in (("p50_us", "50.000000"), ("p99_us", "99.000000"), ("p999_us", "99.900000"))}
    return {"iops": side["iops"], "mib_per_s": side["bw_bytes"] / (1 << 20), **microseconds,
            "cpu_us": busy / side["total_ios"] * 1e6}


def settle(path):
    """Ends what the last contender left to be done: some write through the page cache, and the next one would pay for it."""
    file = os.open(path, os.O_RDWR)
    try:
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def run_place(lab, place, parent, names):
    """All contenders in all workloads, in turn."""
    with lab.folder(parent) as folder:
        contenders = Contenders(lab, folder)
        for name in names:
            if missing(name):
                print(f"bench/run: {name} left out: {missing(name)} is not installed", file=sys.stderr)
        names = [name for name in names if not missing(name)]
        for turn in range(lab.rounds):
            for name in rotated(names, turn):
                settle(contenders.primary)
                with getattr(contenders, name)() as target:
                    for question in WORKLOADS:
                        lab.record(part="path", place=place, contender=name, question=question, round=turn,
                                   **fio(target, question, lab.seconds, 0, contenders.size))
