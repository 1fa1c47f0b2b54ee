# SPDX-License-Identifier: Apache-2.0
"""The remap table against its peers: Google Benchmark for time, callgrind for instructions."""

import json
import re
import shutil
import sys

from .lab import command

QUESTIONS = ("untouched_1MiB", "touched_1MiB", "remapped_1MiB", "miss_far", "miss_near", "hit", "hit_isolated",
             "hit_runs_of_256")


def run_times(lab):
    """Each benchmark once, and those with a goal again for every round, in turn."""
    program = lab.program("table", "bench_remap_table")
    selections = [("/(0|1|1000)(/threads:.*)?$", 0.001)] if lab.smoke else [(".", 0.3)]
    if not lab.smoke:
        with_goals = "^(untouched_1MiB|hit|hit_isolated|hit_runs_of_256|hit_1_readers_and_writer|remapped_1MiB)/" \
                     "(table|boost_flat_map.*)/(0|1000|1000000)(/threads:.*)?$"
        selections += [(with_goals, 0.3)] * (lab.rounds - 1)
    for turn, (selection, seconds) in enumerate(selections):
        result = json.loads(command(program, "--benchmark_format=json", f"--benchmark_min_time={seconds}",
                                    f"--benchmark_filter={selection}"))
        for row in result["benchmarks"]:
            question, contender, entries = row["name"].split("/")[:3]
            values = {"ns": row["cpu_time"] if "threads" not in row["name"] else row["real_time"]}
            if "bytes_per_entry" in row:
                values["bytes_per_entry"] = row["bytes_per_entry"]
            lab.record(part="table", place=f"{int(entries):09d}", contender=contender, question=question, round=turn,
                       **values)


def instructions(lab, question, entries, count):
    """Instructions of a whole run that asks the table `count` questions."""
    with lab.folder("/tmp") as folder:
        output = folder / "callgrind"
        command("valgrind", "--tool=callgrind", f"--callgrind-out-file={output}",
                lab.program("table", "bench_table_instructions"), question, entries, count)
        return int(re.search(r"^(?:summary|totals): (\d+)", output.read_text(), re.MULTILINE).group(1))


def run_instructions(lab):
    """What one more question costs: the difference of two runs. The same each time, so one round is enough."""
    if not shutil.which("valgrind"):
        print("bench/run: instructions left out: valgrind (Debian: valgrind) is not installed", file=sys.stderr)
        return
    for question in QUESTIONS[:2] if lab.smoke else QUESTIONS:
        for entries in (1000,) if lab.smoke else (0, 1000, 100_000):
            if entries == 0 and question not in ("untouched_1MiB", "miss_far"):
                continue
            few, many = 1000, 11_000
            each = (instructions(lab, question, entries, many) - instructions(lab, question, entries, few)) / (many - few)
            lab.record(part="instructions", place=f"{entries:09d}", contender="table", question=question, round=0,
                       instructions=each)
