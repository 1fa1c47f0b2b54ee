#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Data for the page of `remapfs report`, from a seed: `sample.py CASE [SEED]` prints it, `sample.py` the cases."""

import datetime
import json
import random
import sys

NOW = datetime.datetime(2026, 11, 28, 5, 55, 0, tzinfo=datetime.timezone.utc)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=\"document.title='owned'\">&amp;<b>bold</b>"
MAX_REGIONS = 20000
CAUSES = {"lost": ["read_error"], "weak": ["weak_read"], "remapped": ["write_error", "weak_read", "rewritten"]}


def text(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(days_ago):
    return int((NOW - datetime.timedelta(days=days_ago)).timestamp())


def one_region(rng, begin, length, sectors):
    """A run of neighbours of one kind, as they are when nothing was merged."""
    kind = rng.choices(["remapped", "lost", "weak"], [6, 3, 1])[0]
    first = rng.uniform(0.1, 40)
    region = [begin, begin + length, 0, 0, 0, epoch(first), epoch(rng.uniform(0, first))]
    if kind == "remapped":
        region[2] = length
    elif kind == "lost":
        region[3] = sum(rng.randint(1, sectors) for _ in range(length)) if length < 1000 else length * sectors // 2
    else:
        region[4] = length
    causes = CAUSES[kind]
    return region + [", ".join(sorted(rng.sample(causes, rng.randint(1, len(causes))))), length if kind == "lost" else 0]


def scattered(rng, blocks, count, sectors):
    """Clusters, as a damaged surface has them: a scratch touches many tracks at nearly the same place."""
    begins = {0, blocks - 1}
    while len(begins) < count:
        centre = rng.randrange(blocks)
        for _ in range(rng.randint(1, 12)):
            begins.add(min(blocks - 1, max(0, centre + int(rng.gauss(0, blocks / 900)))))
    begins = sorted(begins)[:count - 1] + [blocks - 1]
    regions = []
    for begin, following in zip(begins, begins[1:] + [blocks + 1]):
        room = following - begin - 1
        length = 1 if room < 1 else min(room, int(rng.paretovariate(0.9)), 4096)
        if begin + length <= blocks:
            regions.append(one_region(rng, begin, length, sectors))
    return regions


def merged(rng, blocks, unit, sectors):
    """Neighbouring runs put together: a region holds healthy blocks too, and several kinds."""
    regions = []
    for begin in range(0, blocks - unit, blocks // MAX_REGIONS // unit * unit):
        if rng.random() < 0.3:
            continue
        length = unit * rng.randint(1, 3)
        remapped, weak = rng.randint(0, unit), rng.randint(0, 9)
        first = rng.uniform(1, 200)
        lost = rng.randint(1, 4 * sectors) if rng.random() < 0.1 or remapped + weak == 0 else 0
        regions.append([begin, min(blocks, begin + length), remapped, lost, weak, epoch(first),
                        epoch(rng.uniform(0, first)), "read_error, weak_read, write_error", min(lost, 4)])
    return regions[:MAX_REGIONS]


def growth_of(rng, totals, points, days):
    times = sorted(rng.uniform(0, days) for _ in range(points))[::-1]
    marks = [sorted(rng.randint(0, total) for _ in range(points)) for total in totals]
    for total, column in zip(totals, marks):
        if column:
            column[-1] = total
    return [[text(NOW - datetime.timedelta(days=ago)), *values] for ago, values in zip(times, zip(*marks))]


def events_of(rng, count, blocks, detail):
    kinds = ["relocated", "lost", "weak-found", "mounted", "scrub-started", "scrub-finished", "spare-low"]
    events = []
    for index in range(count):
        kind = rng.choice(kinds)
        moment = NOW - datetime.timedelta(minutes=37 * (count - index))
        events.append({"id": 1000 + index, "at": text(moment), "kind": kind,
                       "block": rng.randrange(blocks) if kind in kinds[:3] else None, "detail": detail})
    return events


def smart_of(verdict, points):
    history = [{"at": text(NOW - datetime.timedelta(days=3 * (points - i))), "reallocated": 8 * i * i,
                "pending": max(0, 5 * i - 12), "uncorrectable": i if i % 4 else None, "temperature": 34 + i % 5}
               for i in range(points)]
    reasons = {"replace-now": ["the drive says that it is failing", f"reallocated sectors rose to {8 * points ** 2}"],
               "fine": [], "unknown": ["smartctl could not read the drive behind this USB bridge"]}
    return {"verdict": verdict, "reasons": reasons[verdict], "history": history,
            "read_at": history[-1]["at"] if history else None}


def scrub_of(state, blocks, size, block_size, lost=0):
    done = {"never": 0, "finished": blocks}.get(state, blocks * 2 // 5)
    running = state == "running"
    return {"state": state, "next_block": done, "total_blocks": blocks, "bytes_done": min(size, done * block_size),
            "bytes_total": size, "bytes_per_second": 84_000_000 if running else 0,
            "seconds_left": (blocks - done) * block_size // 84_000_000 if running else None, "rate_limit": None,
            "moved_blocks": 3, "weak_blocks": 0, "lost_sectors": lost, "unread_blocks": 0,
            "started_at": None if state == "never" else text(NOW - datetime.timedelta(hours=9)),
            "updated_at": None if state == "never" else text(NOW - datetime.timedelta(minutes=2)), "trouble": None}


def device(number, role, path, slots, free):
    uuid = f"5c9e4f0{number}-1111-4222-8333-0123456789ab" if role == "spare" else None
    return {"id": number, "role": role, "path": path, "uuid": uuid, "slots": slots, "slots_free": free,
            "slots_retired": 0 if role == "spare" else None, "missing": False, "retiring": False}


def assemble(size, block_size, regions, unit, slots, label="archive", scrub="finished"):
    blocks = -(-size // block_size)
    remapped, lost, weak = (sum(region[i] for region in regions) for i in (2, 3, 4))
    free = max(0, slots - remapped)
    reasons = ([] if free else ["no free slot is left"]) + ([f"{lost} sectors are lost"] if lost else [])
    reasons += [f"{weak} blocks are weak"] if weak else []
    status = {
        "json_format_version": 1, "state": "degraded" if reasons else "healthy", "mounted": True,
        "volume": {"uuid": "0b8f6c1e-7d53-4c0a-9a55-2f4f5b1c77aa", "label": label, "size_bytes": size,
                   "block_size": block_size},
        "remapped_blocks": remapped, "lost_sectors": lost, "weak_blocks": weak,
        "spare": {"slots_total": slots, "slots_free": free},
        "io": {"reads": 18230211, "writes": 5211907, "read_errors": 3 * min(lost, 50), "write_errors": 0,
               "relocations": remapped // 2},
        "engine": "io_uring", "reasons": reasons, "commits": {"count": remapped * 2 + 11, "longest_us": 1834},
        "scrub": scrub_of(scrub, blocks, size, block_size, min(lost, 5)), "map": "/var/lib/remapfs/archive.map",
        "mountpoint": "/mnt/old", "daemon_pid": 1201, "worker_pid": 1202,
        "crash_survival": {"granted": True, "reason": None, "restarts": 0, "upgrades": 1, "failed_upgrades": 0,
                           "last_failure": None, "program": "remapfs 0.1.0"},
        "read_only": False, "degraded_mount": False, "on_loss": "fail", "suspended": False, "table_growth_refused": False,
        "devices": [device(0, "primary", "/dev/disk/by-id/ata-WDC_WD180EDGZ-11B2DA0_3WKXYZ12", None, None),
                    device(1, "spare", "/srv/spare/archive.spare", slots, free)],
        "transport": None, "hardening": ["memory is locked"]}
    status["devices"][0].update({"logical_block": 512, "physical_block": 4096, "direct_io": True})
    return {"json_format_version": 1, "generated_at": text(NOW), "program": "remapfs 0.1.0", "target": "/mnt/old",
            "status": status, "regions": {"unit_blocks": unit, "list": regions}, "growth": [],
            "forecast": {"slots_free": free, "slots_total": slots, "slots_per_day": None, "runs_out_at": None,
                         "basis": "rate of the last 7 days"},
            "smart": None, "events": []}


def add_course(data, rng, days, points, rate=1.7, event_count=40, detail="answered after a retry, moved to slot 17"):
    status = data["status"]
    totals = [status["remapped_blocks"], status["lost_sectors"], status["weak_blocks"]]
    data["growth"] = growth_of(rng, totals, points, days)
    blocks = -(-status["volume"]["size_bytes"] // status["volume"]["block_size"])
    data["events"] = events_of(rng, event_count, blocks, detail)
    free = data["forecast"]["slots_free"]
    data["forecast"].update({"slots_per_day": rate, "runs_out_at": text(
        NOW + datetime.timedelta(days=free / rate)) if free and free / rate < 36500 else None})
    return data


def usual(rng):
    size = 1953525168 * 512
    data = assemble(size, 4096, scattered(rng, size // 4096, 60, 8), 1, 2048, scrub="running")
    data["smart"] = smart_of("replace-now", 9)
    return add_course(data, rng, 40, 60, rate=21.4)


def empty(_rng):
    data = assemble(64 << 30, 4096, [], 1, 1024, label=None, scrub="never")
    data["smart"] = smart_of("fine", 1)
    data["forecast"]["basis"] = "rate since the volume was made"
    return data


def unmounted(rng):
    data = assemble(512 << 20, 512, scattered(rng, 1 << 20, 9, 1), 1, 256, scrub="paused")
    status = data["status"]
    status.update({"mounted": False, "mountpoint": None, "daemon_pid": None, "worker_pid": None, "engine": None,
                   "crash_survival": None, "on_loss": None, "transport": None, "hardening": None})
    status["io"] = dict.fromkeys(status["io"], 0)
    status["commits"] = {"count": 0, "longest_us": 0}
    for each in status["devices"]:
        each.update({"slots_free": None, "slots_retired": None})
    status["devices"][1]["missing"] = True
    status["scrub"]["trouble"] = "the primary does not answer"
    data["target"] = status["map"]
    data["smart"] = smart_of("unknown", 0)
    return add_course(data, rng, 0.5, 1, rate=0.04, event_count=3)


def full(rng):
    size = 18000207937536
    data = assemble(size, 4096, scattered(rng, size // 4096, MAX_REGIONS, 8), 1, 300000)
    data["smart"] = smart_of("replace-now", 30)
    return add_course(data, rng, 900, 400, rate=310.5, event_count=200)


def many(rng):
    size = 18000207937536
    data = assemble(size, 4096, merged(rng, size // 4096, 1024, 8), 1024, 12_000_000)
    return add_course(data, rng, 200, 400, rate=54321.9, event_count=200)


def tiny(_rng):
    regions = [[2, 3, 0, 3, 0, epoch(2), epoch(1), "read_error", 1], [5, 7, 2, 0, 0, epoch(2), epoch(2), "write_error", 0],
               [7, 8, 0, 0, 1, epoch(1), epoch(1), "weak_read", 0]]
    data = assemble(8 * 4096 - 1024, 4096, regions, 1, 2)
    data["growth"] = [[text(NOW - datetime.timedelta(days=ago)), 2, 3, 2 - ago] for ago in (2, 1)]
    data["status"]["state"] = "failed"
    data["status"]["reasons"].insert(0, "a commit of the map failed: remount to go on")
    return data


def long(rng):
    data = usual(rng)
    word = "a-very-long-label-without-any-place-to-break-it-" * 5
    data["status"]["volume"]["label"] = word
    data["status"]["mountpoint"] = data["target"] = "/mnt/" + word
    data["status"]["map"] = "/var/lib/" + word.replace("-", "_") + "/m.map"
    data["status"]["devices"] += [device(2 + i, "spare", f"/srv/{word}/{i}", 4096, 4096 - i) for i in range(8)]
    data["status"]["reasons"].append("spare " + word + " is missing")
    data["smart"]["reasons"].append(word)
    for event in data["events"]:
        event["detail"] = word
    return data


def hostile(rng):
    data = usual(rng)
    status = data["status"]
    for name in ("mountpoint", "map", "engine"):
        status[name] = HOSTILE
    status["volume"]["label"] = data["target"] = data["program"] = HOSTILE
    status["reasons"] = [HOSTILE]
    status["scrub"]["trouble"] = HOSTILE
    status["hardening"] = [HOSTILE]
    status["crash_survival"].update({"granted": False, "reason": HOSTILE})
    for each in status["devices"]:
        each.update({"path": HOSTILE, "uuid": HOSTILE})
    data["forecast"]["basis"] = HOSTILE
    data["smart"]["reasons"] = [HOSTILE]
    data["events"] = [dict(event, detail=HOSTILE, kind=HOSTILE) for event in data["events"]]
    data["regions"]["list"] = [region[:7] + [HOSTILE] for region in data["regions"]["list"]]
    return data


CASES = {case.__name__: case for case in (usual, empty, unmounted, full, many, tiny, long, hostile)}


def main(arguments):
    if not arguments:
        print("\n".join(CASES))
        return 0
    if arguments[0] not in CASES or len(arguments) > 2:
        print(f"usage: sample.py [{'|'.join(CASES)} [SEED]]", file=sys.stderr)
        return 2
    rng = random.Random(int(arguments[1]) if len(arguments) == 2 else 1)
    json.dump(CASES[arguments[0]](rng), sys.stdout, separators=(",", ":"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
