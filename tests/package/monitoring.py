#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What monitoring_test.sh looks at more closely: figures, alerts and the dashboard. Prints what is wrong, one thing a
line, and ends with 1 then."""
import json
import os
import re
import sys
import time

try:
    from prometheus_client.openmetrics import parser as openmetrics
    from prometheus_client import parser as prometheus
except ImportError:
    sys.exit("python3-prometheus-client is not here: run tools/install-dependencies --test")

DEVICE = {"volume", "device", "role"}
# Every family: its type, its unit and its labels.
FAMILIES = {
    "remapfs_volume": ("info", "", {"volume", "label", "mountpoint", "map", "engine"}),
    "remapfs_mounted": ("gauge", "", {"volume"}),
    "remapfs_state": ("gauge", "", {"volume", "state"}),
    "remapfs_size_bytes": ("gauge", "bytes", {"volume"}),
    "remapfs_remapped_blocks": ("gauge", "", {"volume"}),
    "remapfs_lost_sectors": ("gauge", "", {"volume"}),
    "remapfs_weak_blocks": ("gauge", "", {"volume"}),
    "remapfs_spare_slots": ("gauge", "", {"volume"}),
    "remapfs_spare_free_slots": ("gauge", "", {"volume"}),
    "remapfs_device_missing": ("gauge", "", DEVICE),
    "remapfs_device_retired_slots": ("gauge", "", DEVICE),
    "remapfs_io_errors": ("counter", "", DEVICE | {"op", "class"}),
    "remapfs_requests": ("counter", "", {"volume", "op"}),
    "remapfs_request_errors": ("counter", "", {"volume", "op"}),
    "remapfs_request_duration_seconds": ("histogram", "seconds", {"volume", "op"}),
    "remapfs_relocated_blocks": ("counter", "", {"volume"}),
    "remapfs_map_commits": ("counter", "", {"volume"}),
    "remapfs_map_commit_longest_seconds": ("gauge", "seconds", {"volume"}),
    "remapfs_restarts": ("counter", "", {"volume"}),
    "remapfs_scrub_running": ("gauge", "", {"volume"}),
    "remapfs_scrub_progress_ratio": ("gauge", "ratio", {"volume"}),
    "remapfs_scrub_finished_timestamp_seconds": ("gauge", "seconds", {"volume"}),
}
# Of node_exporter, which reads the file.
OTHERS = {"node_textfile_mtime_seconds", "node_textfile_scrape_error"}
found = []


def wrong(text):
    found.append(text)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def samples_of(families):
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families for sample in family.samples}


def check_family(family, kind, unit, labels):
    if family.type != kind:
        wrong(f"{family.name} is a {family.type}, not a {kind}")
    if unit is not None and family.unit != unit:
        wrong(f"{family.name} is in {family.unit!r}, not in {unit!r}")
    if not family.documentation.endswith("."):
        wrong(f"{family.name} has no sentence of help: {family.documentation!r}")
    for sample in family.samples:
        if set(sample.labels) - {"le"} != labels:
            wrong(f"{sample.name} has the labels {sorted(sample.labels)}, not {sorted(labels)}")
        if kind in ("counter", "histogram") and sample.value < 0:
            wrong(f"{sample.name} is {sample.value}")


def check_histograms(family):
    """Buckets grow, and the last one is the count; the parser of OpenMetrics looks at that in one of the formats."""
    series = {}
    for sample in family.samples:
        series.setdefault((sample.labels["volume"], sample.labels["op"]), {})[
            sample.labels.get("le", sample.name.rpartition("_")[2])] = sample.value
    for labels, values in series.items():
        bounds = sorted((float(le), count) for le, count in values.items() if le not in ("count", "sum"))
        counts = [count for _, count in bounds]
        if counts != sorted(counts) or bounds[-1][0] != float("inf") or counts[-1] != values["count"]:
            wrong(f"{family.name} of {labels}: {values}")
        if (values["count"] == 0) != (values["sum"] == 0):
            wrong(f"{family.name} of {labels}: {values['count']} took {values['sum']} s")


def formats(open_path, text_path=None):
    opened = list(openmetrics.text_string_to_metric_families(read(open_path)))
    if {family.name for family in opened} != set(FAMILIES):
        wrong(f"other families: {sorted({family.name for family in opened} ^ set(FAMILIES))}")
    for family in opened:
        check_family(family, *FAMILIES.get(family.name, (family.type, family.unit, set())))
    if text_path is None:
        return
    text = list(prometheus.text_string_to_metric_families(read(text_path)))
    kinds = {family.name: family for family in text}
    for name, (kind, _, labels) in FAMILIES.items():
        # That format has no type for information; its parser takes _total away as the other one does.
        family = kinds.pop(name + "_info" if kind == "info" else name, None)
        if family is None:
            wrong(f"{text_path} lacks {name}")
            continue
        check_family(family, "gauge" if kind == "info" else kind, None, labels)
        if not family.samples:
            wrong(f"{name} has no figure")
        if kind == "histogram":
            check_histograms(family)
        # The reader of files wants the name of a counter as its samples have it.
        ending = {"counter": "_total", "info": "_info"}.get(kind, "")
        declared = f"# TYPE {name}{ending} {family.type}\n"
        if declared not in read(text_path):
            wrong(f"{text_path} does not say: {declared}")
    if kinds:
        wrong(f"{text_path} has more: {sorted(kinds)}")
    one, other = samples_of(opened), samples_of(text)
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            wrong(f"{key} is {one.get(key)} and {other.get(key)}")
    by_label = {labels["label"]: labels["volume"] for labels in (dict(key[1]) for key in one) if "label" in labels}
    old = by_label.get('old "\\disk')
    expected = {"remapfs_remapped_blocks": 20, "remapfs_lost_sectors": 8, "remapfs_mounted": 1,
                "remapfs_scrub_progress_ratio": 1, "remapfs_size_bytes": 32 << 20}
    for name, value in expected.items():
        if one.get((name, (("volume", old),))) != value:
            wrong(f"{name} of the volume {by_label} is {one.get((name, (('volume', old),)))}, not {value}")


def whole(path):
    """Reads the file again and again while it is replaced: as many lines, and the same names, each time."""
    def names():
        return re.sub(r" [-+.0-9e]+$", "", read(path), flags=re.M)
    first, files, end = names(), set(), time.monotonic() + 3
    while time.monotonic() < end:
        files.add(os.stat(path).st_mtime_ns)
        now = names()
        if now != first:
            wrong(f"{path} was read with {len(now)} letters, not {len(first)}")
            return
    if len(files) < 5:
        wrong(f"{path} was replaced {len(files)} times only")


def alerts(rules_path, *test_paths):
    """Every alert says how bad it is and what to do, and was seen firing and not."""
    rules = read(rules_path)
    blocks = re.split(r"(?m)^ +- (?=alert: |record: )", rules)[1:]
    names = {block.split()[1]: block for block in blocks if block.startswith("alert: ")}
    if len(names) < 15:
        wrong(f"only {len(names)} alerts")
    tests = "".join(read(path) for path in test_paths)
    fired = set(re.findall(r'labels: \'\{alertname="(\w+)"', tests))
    for name, block in names.items():
        for wanted in ("severity: ", "summary: ", "description: ", "expr: "):
            if block.count(wanted) != 1:
                wrong(f"{name}: not one {wanted}")
        if not re.search(r"severity: (critical|warning)$", block, re.M):
            wrong(f"{name}: an unknown severity")
        if not re.search(r"`(remapfs|systemctl) ", block):
            wrong(f"{name} says nothing to do")
        if name not in fired:
            wrong(f"{name} was not seen firing")
    # Quiet they are all in the cases where nothing fires, which look at every alert.
    if not re.search(r"a healthy week", tests) or "count(max_over_time(ALERTS[7d]))" not in tests:
        wrong("no healthy week")
    for name in fired - set(names):
        wrong(f"the tests speak of {name}, which is no alert")


def expressions(dashboard):
    """Every expression of a dashboard with its place."""
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"query_result\((.*)\)", variable["query"]["query"])
            yield variable["name"], inner.group(1) if inner else variable["query"]["query"]
    for panel in dashboard["panels"]:
        for inner in [panel, *panel.get("panels", [])]:
            for target in inner.get("targets", []):
                yield f"{inner['title']}, {target['refId']}", target["expr"]


def without_variables(text):
    for name, value in (("$__rate_interval", "5m"), ("$__range", "1h"), ("$__interval", "1m"), ("$volume", "x")):
        text = text.replace(name, value)
    return text


def dashboard(path):
    """Prints the expressions as rules; each panel has what it needs, and nothing of the machine where it was made."""
    text = read(path)
    board = json.loads(text)
    if text != json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False) + "\n":
        wrong(f"{path} is not as json.dumps(indent=2, sort_keys=True) writes it")
    if board["id"] is not None or board["schemaVersion"] > 38:
        wrong("it has the number of a database, or is newer than Grafana 10")
    for uid in re.findall(r'"uid": ("[^"]*"|null)', text):
        if uid not in ('"${datasource}"', f'"{board["uid"]}"'):
            wrong(f"a data source or folder by its number: {uid}")
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    if set(variables) != {"datasource", "volume"} or variables["datasource"]["type"] != "datasource":
        wrong(f"other variables: {sorted(variables)}")
    # As Grafana writes what the query gives, and takes text and value from it.
    pattern = variables["volume"]["regex"].strip("/").replace("(?<", "(?P<")
    match = re.search(pattern, '{instance="a",label="b",map="/m",short="12",shown_as="b 12",volume="1234"} 1 0')
    if not match or match.groupdict() != {"text": "b 12", "value": "1234"}:
        wrong(f"the volumes are not listed: {match}")
    ids, places = [], []
    for panel in board["panels"]:
        ids.append(panel["id"])
        place = panel["gridPos"]
        if any(place["x"] < p["x"] + p["w"] and p["x"] < place["x"] + place["w"] and place["y"] < p["y"] + p["h"]
               and p["y"] < place["y"] + place["h"] for p in places) or place["x"] + place["w"] > 24:
            wrong(f"{panel['title']} is on another panel")
        places.append(place)
        if panel["type"] == "row":
            continue
        if not panel["description"].endswith("."):
            wrong(f"{panel['title']} has no description")
        if panel["type"] != "heatmap" and "unit" not in panel["fieldConfig"]["defaults"]:
            wrong(f"{panel['title']} has no unit")
        if any(target["datasource"] != {"type": "prometheus", "uid": "${datasource}"} for target in panel["targets"]):
            wrong(f"{panel['title']} asks another data source")
    if len(set(ids)) != len(ids):
        wrong("two panels have one number")
    print("groups:\n- name: dashboard\n  rules:")
    for i, (place, expression) in enumerate(expressions(board)):
        plain = without_variables(expression)
        if "$" in plain.replace('"$1"', ""):
            wrong(f"{place}: an unknown variable: {plain}")
        print(f"  # {place}\n  - record: dashboard:{i}\n    expr: {json.dumps(plain)}")


def names(figures_path, rules_path, dashboard_path):
    there = {sample.name for family in prometheus.text_string_to_metric_families(read(figures_path))
             for sample in family.samples} | OTHERS
    used = {}
    rules = "\n".join(line for line in read(rules_path).split("\n") if not line.lstrip().startswith("#"))
    board = json.loads(read(dashboard_path))
    for source, text in [(rules_path, rules), *expressions(board)]:
        for name in re.findall(r"\b(?:remapfs|node_textfile)_\w+", text):
            used.setdefault(name, source)
    for name, source in sorted(used.items()):
        if name not in there:
            wrong(f"{source}: there is no {name}")
    for family, (kind, _, _) in FAMILIES.items():
        if not any(name == family or name.startswith(family + "_") for name in used):
            wrong(f"neither an alert nor the dashboard shows {family}")


def verbs(*paths):
    # Folded lines have a line's end where there is a blank.
    text = re.sub(r"\s+", " ", " ".join(read(path) for path in paths))
    for verb in sorted(set(re.findall(r"`remapfs ([a-z-]+)", text) + re.findall(r"remapfs ([a-z-]+) MAP", text))):
        print(verb)


globals()[sys.argv[1]](*sys.argv[2:])
for line in found:
    print(line, file=sys.stderr)
sys.exit(1 if found else 0)
