# SPDX-License-Identifier: Apache-2.0
"""From samples to results.json and a page of tables."""

import json
import statistics
from collections import defaultdict

from . import goals
from .remapped import SAME_PLACES

KEYS = ("part", "place", "contender", "question")


def summarize(samples):
    """Medians, with the smallest and largest where there was more than one round, in order of first appearance."""
    groups = defaultdict(list)
    for sample in samples:
        groups[tuple(sample[key] for key in KEYS)].append(sample)
    rows = []
    for key, group in groups.items():
        columns = {name: [s[name] for s in group if name in s] for name in group[0] if name not in (*KEYS, "round")}
        rows.append({**dict(zip(KEYS, key)), "rounds": len(group),
                     "values": {name: statistics.median(column) for name, column in columns.items()},
                     "extremes": {name: (min(column), max(column)) for name, column in columns.items()}})
    return rows


def number(value):
    """Three digits that mean something, or more when the number is large."""
    if value is None:
        return "-"
    if abs(value) < 0.05:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(header, lines):
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def unique(values):
    return list(dict.fromkeys(values))


def grid(rows, text):
    """Contenders down, questions across; text(contender, question, values, cells) in each cell that was measured."""
    cells = {(row["contender"], row["question"]): row["values"] for row in rows}
    questions = unique(row["question"] for row in rows)

    def cell(*key):
        return text(*key, cells[key], cells) if key in cells else "-"

    return table(["contender", *questions],
                 [[contender, *(cell(contender, q) for q in questions)] for contender in unique(r["contender"] for r in rows)])


def figures(rows, value, base=None):
    """A grid of value(question, values), a figure and its unit, with the ratio to the contender `base`."""
    def text(contender, question, values, cells):
        figure, unit = value(question, values)
        reference = cells.get((base, question))
        if reference is None or contender == base:
            return f"{number(figure)}{unit}"
        return f"{number(figure)}{unit} ({figure / value(question, reference)[0]:.2f})"

    return grid(rows, text)


def percentiles(rows):
    """A grid of p50, p99 and p99.9 in microseconds."""
    return grid(rows, lambda contender, question, values, cells:
                " / ".join(number(values[key]) for key in ("p50_us", "p99_us", "p999_us")))


def path_figure(question, values):
    """What a workload is about: latency alone, throughput of large requests, or requests a second."""
    if "depth 1" in question:
        return values["p50_us"], " us"
    return (values["mib_per_s"], " MiB/s") if "1M" in question else (values["iops"], "/s")


def by_place(rows, part):
    groups = defaultdict(list)
    for row in rows:
        if row["part"] == part:
            groups[row["place"]].append(row)
    return groups.items()


def goals_text(rows):
    verdict = {True: "met", False: "**not met**", None: "not measured"}
    lines = []
    for goal, figures in goals.standing(goals.Results(rows)):
        for figure in figures:
            sign = ">=" if figure.at_least else "<="
            lines.append([goal.what, figure.label, f"{sign} {number(figure.limit)}{figure.unit}",
                          f"{number(figure.figure)}{figure.unit if figure.figure is not None else ''}", verdict[figure.met]])
    return table(["what", "case", "goal", "measured", ""], lines)


def page(machine, rows):
    """The page of a run, as Markdown."""
    about = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items())
    parts = [f"Medians of {max(row['rounds'] for row in rows)} rounds (where a table says nothing else); in parentheses the "
             f"ratio to the first line. Machine: {about}.\n", "## Goals\n", goals_text(rows)]
    for place, group in by_place(rows, "path"):
        parts += [f"## Path, {place}\n", figures(group, path_figure, "raw"), "CPU time of the whole machine for a request, us:\n",
                  figures(group, lambda q, values: (values["cpu_us"], ""))]
    for place, group in by_place(rows, "remapped"):
        parts += [f"## Remapped, {place}\n", figures(group, path_figure, SAME_PLACES)]
    for _, group in by_place(rows, "mount"):
        parts += ["## Mounting\n", table(["volume", "seconds", "resident MiB", "peak MiB"], [
            [row["question"], number(row["values"]["seconds"]),
             *(number(row["values"][key] / 1024) for key in ("resident_kib", "peak_kib"))] for row in group])]
    for _, group in by_place(rows, "relocation"):
        parts += ["## Blocks relocated in a second\n", figures(group, lambda q, values: (values["iops"], "/s"))]
    for place, group in by_place(rows, "reference"):
        parts += [f"## The reference design's tests, {place}: one process, p50 / p99 / p99.9 us\n", percentiles(group)]
    theirs = [row for row in rows if "dd_ms" in row["values"]]
    if theirs:
        parts += ["## The reference design's tests its way: one dd a read, which measures the start of dd, ms\n",
                  table(["test", "place", "median"],
                        [[row["question"], row["place"], number(row["values"]["dd_ms"])] for row in theirs])]
    for part, key, title in (("table", "ns", "Remap table, ns a question"), ("instructions", "instructions",
                                                                             "Remap table, instructions a question")):
        group = [row for row in rows if row["part"] == part]
        if group:
            parts += [f"## {title}\n", table_text(group, key)]
    return "\n".join(parts)


def table_text(rows, key):
    cells = {(row["question"], row["contender"], row["place"]): row["values"][key] for row in rows}
    places = sorted({row["place"] for row in rows})
    asked = unique((row["question"], row["contender"]) for row in rows)
    return table(["question", "contender", *(f"{int(place):,}" for place in places)],
                 [[*who, *(number(cells.get((*who, place))) for place in places)] for who in sorted(asked)])


def write(lab, machine):
    """Writes results.json and RESULTS.md; returns the rows."""
    rows = summarize(lab.samples_taken())
    (lab.out / "results.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    (lab.out / "RESULTS.md").write_text(page(machine, rows))
    return rows
