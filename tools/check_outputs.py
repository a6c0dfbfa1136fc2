#!/usr/bin/env python3
"""Checks a result directory with other people's readers.

    tools/check_outputs.py DIR [--events unique|all|none]

Reads DIR/metrics.om with prometheus_client and DIR/delay.hlog with hdrhistogram (both from PyPI), DIR/paths.csv and
DIR/states.csv with Python's own csv, and compares them, and DIR/events.jsonl where there is one, with
DIR/summary.json. Runs without packets have no paths.csv and delay.hlog, runs without entities no states.csv.
Prints what it checked; exits with 1 when anything differs, with 2 when it cannot check.
"""

import argparse
import csv
import json
import math
import re
import sys
import uuid
from pathlib import Path

try:
    from hdrh.histogram import HdrHistogram
    from hdrh.log import HistogramLogReader
    from prometheus_client.openmetrics.parser import text_fd_to_metric_families
except ImportError as missing:
    print(f"{missing}; pip install prometheus_client hdrhistogram", file=sys.stderr)
    sys.exit(2)

# Counters of metrics.om and where summary.json has their values.
ACCOUNT = {
    "panther_events_offered_total": "offered",
    "panther_events_accepted_total": "accepted",
    "panther_events_dropped_full_total": "dropped_full",
    "panther_events_rejected_total": "rejected",
    "panther_events_unique_total": "unique",
    "panther_events_duplicates_total": "duplicates",
}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
# Members of an entry of packets.paths in summary.json, by column of paths.csv.
COUNTS = ["sent", "lost", "duplicated", "reordered", "beyond_horizon"]
DELAYS = ["count", "min", "p50", "p90", "p99", "p999", "max", "mean"]
# Three significant digits: the histograms' precision.
PRECISION = 1e-3


class Report:
    """Collects what was checked and what differs."""

    def __init__(self):
        self.checked = 0
        self.faults = []

    def equal(self, what, found, expected):
        self.checked += 1
        if found != expected:
            self.faults.append(f"{what}: {found!r}, summary.json says {expected!r}")

    def close(self, what, found, expected):
        self.checked += 1
        if not math.isclose(found, expected, rel_tol=PRECISION, abs_tol=1):
            self.faults.append(f"{what}: {found!r}, summary.json says {expected!r} (3 digits)")

    def between(self, what, low, high, expected):
        self.checked += 1
        if not low * (1 - PRECISION) - 1 <= expected <= high * (1 + PRECISION) + 1:
            self.faults.append(f"{what}: {low!r} to {high!r}, summary.json says {expected!r} (3 digits)")

    def holds(self, what, truth):
        self.checked += 1
        if not truth:
            self.faults.append(what)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--events", choices=["unique", "all", "none"], help="what events.jsonl holds: "
                        "unique events, all accepted ones, or there is no such file (default: found out)")
    options = parser.parse_args()

    report = Report()
    try:
        summary = json.loads((options.dir / "summary.json").read_text(encoding="utf-8"))
        account = summary["accounting"]
        paths = {(path["from"], path["to"]): path for path in summary.get("packets", {}).get("paths", [])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{options.dir / 'summary.json'}: cannot be read: {error!r}", file=sys.stderr)
        return 2

    def where_there_are(member, check, path, expected):
        if member in summary:
            return check(path, expected, report)
        report.holds(f"{path.name}: is there, but there are no {member}", not path.exists())
        return "no such file, as it should be"

    for title, check in [
        ("MANIFEST", lambda: check_manifest(options.dir, report)),
        ("accounting", lambda: check_account(account, report)),
        ("metrics.om", lambda: check_metrics(options.dir / "metrics.om", account, report)),
        ("delay.hlog", lambda: where_there_are("packets", check_hlog, options.dir / "delay.hlog", paths)),
        ("paths.csv", lambda: where_there_are("packets", check_paths, options.dir / "paths.csv", paths)),
        ("states.csv", lambda: where_there_are("states", check_states, options.dir / "states.csv", summary)),
        ("events.jsonl", lambda: check_events(options.dir / "events.jsonl", account, options.events, report)),
        ("panther_id", lambda: check_panther_ids(options.dir / "events.jsonl", summary, report)),
    ]:
        before, faults = report.checked, len(report.faults)
        try:
            found = check()
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            report.faults.append(f"{title}: cannot be read: {error!r}")
            found = "not readable"
        verdict = "ok" if len(report.faults) == faults else "DIFFERS"
        print(f"{title}: {found}; {report.checked - before} comparisons, {verdict}")

    for fault in report.faults:
        print(f"  {fault}", file=sys.stderr)
    print(f"{report.checked} comparisons, {len(report.faults)} differ")
    return 1 if report.faults else 0


def check_manifest(folder, report):
    """Every file that the manifest lists is there and has its size."""
    manifest = (folder / "MANIFEST").read_text(encoding="utf-8")
    first, *lines = manifest.splitlines()
    report.equal("MANIFEST: first line", first, "panther-events result 1")
    files = [line.split(" ", 1) for line in lines]
    for size, name in files:
        report.equal(f"MANIFEST: size of {name}", (folder / name).stat().st_size, int(size))
    report.holds("MANIFEST: does not list summary.json", "summary.json" in [name for _, name in files])
    leftovers = [path.name for path in folder.iterdir() if path.name.endswith(".panther-partial")]
    report.holds(f"leftovers of an unfinished run: {leftovers}", not leftovers)
    return f"{len(files)} files"


def check_account(account, report):
    """The sums that hold at rest."""
    offered = account["accepted"] + account["dropped_full"] + account["rejected"]
    report.equal("accepted + dropped_full + rejected", offered, account["offered"])
    accepted = account["unique"] + account["duplicates"] + account.get("in_flight", 0)
    report.equal("unique + duplicates + in_flight", accepted, account["accepted"])
    return f"{account['offered']} events offered"


def check_metrics(path, account, report):
    """The counters, summed over their labels, equal the accounting."""
    sums, families = {}, 0
    # Carriage returns may stand within labels: only line feeds end lines.
    with path.open(encoding="utf-8", newline="\n") as file:
        for family in text_fd_to_metric_families(file):
            families += 1
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
    for metric, member in ACCOUNT.items():
        report.equal(f"metrics.om: {metric}", sums.get(metric), account[member])
    return f"{families} families"


def check_hlog(path, paths, report):
    """Each path's histogram holds the summary's count and, to three digits, its quantiles."""
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000_000, 3))
    merged = {}
    intervals = 0
    while (histogram := reader.get_next_interval_histogram()) is not None:
        intervals += 1
        tag = histogram.get_tag()
        if tag in merged:
            merged[tag].add(histogram)
        else:
            merged[tag] = histogram
    reader.close()
    with path.open(encoding="utf-8", newline="\n") as file:
        lines = sum(1 for line in file if not line.startswith("#"))
    report.holds(f"delay.hlog: the reader took {intervals} of {lines} lines", intervals == lines)

    for (source, target), entry in paths.items():
        tag = path_tag(source, target)
        delay = entry.get("delay_ns") or {"count": 0}
        histogram = merged.pop(tag, None)
        if histogram is None:
            report.equal(f"delay.hlog: {tag} is missing; count", 0, delay["count"])
            continue
        report.equal(f"delay.hlog: {tag} count", histogram.get_total_count(), delay["count"])
        if delay["count"] == 0:
            continue
        report.close(f"delay.hlog: {tag} min", histogram.get_min_value(), delay["min"])
        report.close(f"delay.hlog: {tag} max", histogram.get_max_value(), delay["max"])
        report.close(f"delay.hlog: {tag} mean", histogram.get_mean_value(), delay["mean"])
        for member, quantile in QUANTILES.items():
            # Which of two neighbouring values is the quantile is a matter of convention.
            rank = quantile * delay["count"]
            low, high = (at_rank(histogram, bound(rank)) for bound in (math.floor, math.ceil))
            report.between(f"delay.hlog: {tag} {member}", low, high, delay[member])
    unknown = sorted(str(tag) for tag in merged)
    report.holds(f"delay.hlog: paths that summary.json does not have: {unknown}", not unknown)
    return f"{intervals} histograms"


def at_rank(histogram, rank):
    """The rank-th smallest value, from 1."""
    count = histogram.get_total_count()
    return histogram.get_value_at_percentile(100.0 * min(max(rank, 1), count) / count)


def path_tag(source, target):
    """The tag of a path: names with %, commas, white space, control characters and > as in a URL."""
    def escape(name):
        special = re.compile(r"[%,>]|\s")
        # Category Cc, for control characters.
        return "".join(
            "".join(f"%{byte:02X}" for byte in c.encode())
            if special.match(c) or ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 else c
            for c in name
        )
    return f"{escape(source)}->{escape(target)}"


def names_of(row):
    """A row with its cells as they were before they were made harmless: no quote in front, no escapes."""
    def name(cell):
        return re.sub(r"\\u\{([0-9a-f]+)\}", lambda code: chr(int(code[1], 16)), cell.removeprefix("'"))
    return {column: name(cell) for column, cell in row.items()}


def check_paths(path, paths, report):
    """Each row equals the summary's entry, cell by cell."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [names_of(row) for row in csv.DictReader(file)]
    report.equal("paths.csv: paths", sorted((row["from"], row["to"]) for row in rows), sorted(paths))
    for row in rows:
        entry = paths.get((row["from"], row["to"]))
        if entry is None:
            continue
        name = f"paths.csv: {row['from']} to {row['to']}"
        for column in COUNTS:
            report.equal(f"{name} {column}", int(row[column]), entry[column])
        delay = entry.get("delay_ns") or {"count": 0}
        for member in DELAYS:
            cell = row["delay_count" if member == "count" else f"delay_{member}_ns"]
            expected = delay.get(member)
            if delay["count"] == 0 and member != "count":
                report.equal(f"{name} delay {member}", cell, "")
            elif member == "mean":
                # A whole number in the table; the summary may have more digits.
                report.holds(f"{name} delay mean: {cell}, summary.json says {expected}",
                             abs(float(cell) - expected) <= 1)
            else:
                report.equal(f"{name} delay {member}", int(cell), expected)
    return f"{len(rows)} rows"


def check_states(path, summary, report):
    """The states of the rows add up to the summary's, and each entity stands there once."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [names_of(row) for row in csv.DictReader(file)]
    final = {}
    for row in rows:
        state = f"{row['domain']}.{row['state']}"
        final[state] = final.get(state, 0) + 1
        report.holds(f"states.csv: {row['entity']!r} is there since {row['since_ns']}", int(row["since_ns"]) >= 0)
    report.equal("states.csv: entities by state", final, summary["states"]["final"])
    report.equal("states.csv: rows", len(rows), summary["states"]["entities"])
    columns = ("domain", "entity", "experiment", "test", "step")
    entities = {tuple(row[column] for column in columns) for row in rows}
    report.equal("states.csv: different entities", len(entities), len(rows))
    return f"{len(rows)} rows"


def check_panther_ids(path, summary, report):
    """PANTHER's ids are version-5 UUIDs, as many as the summary says."""
    if "panther" not in summary or not path.exists():
        return "none, as it should be"
    with path.open(encoding="utf-8", newline="\n") as file:
        ids = {event["panther_id"] for event in map(json.loads, file) if "panther_id" in event}
    if summary["panther"]["id_mismatches"] == 0:
        report.equal("events.jsonl: different panther_id", len(ids), summary["panther"]["distinct_ids"])
        report.equal("events.jsonl: versions", {uuid.UUID(id).version for id in ids} - {5}, set())
    return f"{len(ids)} ids"


def check_events(path, account, kept, report):
    """Each line is an event; their number is the accounting's."""
    if kept == "none" or (kept is None and not path.exists()):
        report.holds("events.jsonl: is there, but should not be", not path.exists())
        return "no such file, as it should be"
    verdicts = {}
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            event = json.loads(line, parse_constant=lambda word: refuse(f"line {number} holds {word}"))
            missing = {"id", "time_ns", "entity", "kind", "source", "seq", "payload"} - event.keys()
            if missing:
                refuse(f"line {number} has no {sorted(missing)}")
            if uuid.UUID(event["id"]).version != 8:
                refuse(f"line {number}: the id {event['id']} is no version-8 UUID")
            verdict = event.get("verdict")
            verdicts[verdict] = verdicts.get(verdict, 0) + 1
    lines = sum(verdicts.values())
    if kept is None:
        kept = "all" if "duplicate" in verdicts else "unique"
    report.equal(f"events.jsonl: lines ({kept} events)", lines,
                 account["unique"] if kept == "unique" else account["unique"] + account["duplicates"])
    if None not in verdicts:
        report.equal("events.jsonl: new events", verdicts.get("new", 0), account["unique"])
    return f"{lines} events"


def refuse(reason):
    raise ValueError(reason)


if __name__ == "__main__":
    sys.exit(main())
