# SPDX-License-Identifier: Apache-2.0
"""Pictures of a run: one SVG for each place of the path, one for the table, one for the reference design's tests."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  the backend is chosen first

from .report import by_place, path_figure, unique  # noqa: E402

OURS, OTHERS = "#1a56a8", "#a0aec0"
# Of lines and bars that stand for other contenders, in order of appearance.
PALETTE = ("#d97706", "#059669", "#b91c1c", "#7c3aed", "#78716c", "#db2777", "#0891b2")


def color(name):
    return OURS if "virtual" in name else OTHERS


def colors(names, ours):
    """One color for each name, the same in every panel."""
    others = iter(PALETTE * 2)
    return {name: OURS if name == ours else next(others) for name in names}


def _legend(figure, axes, columns):
    """One legend for all panels, above them."""
    handles = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncol=columns, fontsize=9, frameon=False)


def _panels(questions, height, above=0.0):
    """A figure with a panel for each question, two in a line, and its height: that of its lines, and of what is above."""
    lines = (len(questions) + 1) // 2
    whole = lines * height + above
    figure, axes = plt.subplots(lines, 2, figsize=(12, whole), squeeze=False)
    for axis in list(axes.flat)[len(questions):]:
        axis.set_visible(False)
    return figure, axes, whole


def _save(figure, path, top=1.0):
    figure.tight_layout(rect=(0, 0, 1, top))
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def plot_path(rows, place, path):
    """Bars with the extremes of the rounds; a panel for each workload."""
    questions, contenders = unique(r["question"] for r in rows), unique(r["contender"] for r in rows)
    cells = {(row["contender"], row["question"]): row for row in rows}
    figure, axes, _ = _panels(questions, 0.6 + 0.32 * len(contenders))
    figure.suptitle(f"{place}: median, and the extremes of the rounds")
    for axis, question in zip(axes.flat, questions):
        present = [name for name in contenders if (name, question) in cells]
        medians, low, high, unit = [], [], [], ""
        for name in present:
            row = cells[(name, question)]
            median, unit = path_figure(question, row["values"])
            ends = [path_figure(question, {key: pair[i] for key, pair in row["extremes"].items()})[0] for i in (0, 1)]
            medians.append(median)
            low.append(median - ends[0])
            high.append(ends[1] - median)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 10_000 else f"{x:g}")
        axis.barh(present, medians, xerr=(low, high), color=[color(name) for name in present], ecolor="#4a5568")
        axis.invert_yaxis()
        axis.set_title(f"{question},{unit.replace('/s', ' requests/s') if unit == '/s' else unit}"
                       + (" (less is better)" if unit == " us" else ""), fontsize=10)
    _save(figure, path)


def plot_table(rows, path):
    """Time of a question by number of entries; a panel for each question."""
    questions = [q for q in unique(r["question"] for r in rows) if q != "fill"]
    shades = colors(unique(r["contender"] for r in rows), "table")
    figure, axes, height = _panels(questions, 3.2, 0.6)
    for axis, question in zip(axes.flat, questions):
        for name, shade in shades.items():
            points = sorted((int(r["place"]), r["values"]["ns"]) for r in rows
                            if r["question"] == question and r["contender"] == name)
            if points:
                axis.plot(*zip(*points), marker="o", markersize=4 if name == "table" else 3, label=name, color=shade,
                          linewidth=2.5 if name == "table" else 1, zorder=3 if name == "table" else 2)
        axis.set_xscale("symlog", linthresh=1)
        axis.set_yscale("log")
        axis.set_xlabel("entries")
        axis.set_ylabel("ns")
        axis.grid(True, alpha=0.3)
        axis.set_title(question, fontsize=10)
    _legend(figure, axes.flat, 5)
    _save(figure, path, 1 - 0.6 / height)


def plot_reference(rows, path):
    """Median latency of each test, by who answers."""
    places = unique(r["place"] for r in rows)
    shades = colors(unique(r["contender"] for r in rows), "remapped")
    figure, axes = plt.subplots(1, len(places), figsize=(12, 6), squeeze=False, sharey=True)
    for axis, place in zip(axes.flat, places):
        group = [r for r in rows if r["place"] == place]
        questions = unique(r["question"] for r in group)
        height = 0.8 / len(shades)
        for i, (name, shade) in enumerate(shades.items()):
            mine = {r["question"]: r["values"]["p50_us"] for r in group if r["contender"] == name}
            axis.barh([questions.index(q) + i * height for q in mine], list(mine.values()), height=height, label=name,
                      color=shade)
        axis.set_yticks([i + 0.4 - height / 2 for i in range(len(questions))], questions)
        axis.set_title(f"{place}: p50 of a read, us", fontsize=10)
        if not axis.yaxis_inverted():
            axis.invert_yaxis()
    _legend(figure, axes.flat, len(shades))
    _save(figure, path, 0.94)


def write(lab, rows):
    """All pictures for which there are rows."""
    for place, group in by_place(rows, "path"):
        plot_path(group, place, lab.out / f"path-{place}.svg")
    for part, plot in (("table", plot_table), ("reference", plot_reference)):
        group = [row for row in rows if row["part"] == part]
        if group:
            plot(group, lab.out / f"{part}.svg")
