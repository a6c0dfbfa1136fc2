#!/usr/bin/env python3
"""Compares the ids of `panther-events panther-id` with those that Python computes.

Makes random events (the seed is printed), writes them through `json.dumps`, computes PANTHER's id of each with
Python's own `str()` and `uuid.uuid5`, runs the command on them and compares line by line. Lines that Python
refuses are mixed in; the command has to refuse exactly those. Exits with 1 at a difference and shows the line.

    tools/panther_ids.py --bin target/release/panther-events --values 1000000

Needs Python 3.9 or later and nothing else. The ids depend on the version of Unicode that Python knows, so the
command is told this Python's version; give --check-printable to compare every code point besides.
"""

import argparse
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import uuid

NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
INT_DIGITS_MAX = 4300
TIMESTAMP = "2026-11-23T22:43:47.988657"

PLANES = [
    (0x00, 0x20), (0x20, 0x7F), (0x7F, 0xA1), (0xA1, 0x100), (0x100, 0x250), (0x300, 0x370), (0x530, 0x800),
    (0x800, 0x2000), (0x2000, 0x2100), (0x2100, 0x3100), (0x3100, 0xD800), (0xE000, 0xF900), (0xF900, 0x10000),
    (0x10000, 0x11000), (0x11000, 0x1E000), (0x1E000, 0x1F000), (0x1F000, 0x20000), (0x20000, 0x30000),
    (0x30000, 0x40000), (0xE0000, 0xE0200), (0xF0000, 0x110000),
]
ODD = [
    "'", '"', "\\", "'\"", "\\'", '\\"', "\\n", "\t", "\n", "\r", "\x00", "\x1b[31m", "\x7f", "\x80", "\xa0", "\xad",
    "\u200b", "\u2028", "\u2029", "\u202e", "\ufeff", "\ufffe", "\uffff", "\U0001f980", "\U000e0001", "None", "{}",
    "\ud7ff", "\ue000", "\U0010ffff", "timestamp", "%s", "",
]
EDGE_FLOATS = [
    0.0, -0.0, 1.0, 1e15, 1e16, 1e17, 1e22, 1e23, 9999999999999998.0, 1e-3, 1e-4, 1e-5, 123456789012345680.0,
    5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, float("inf"), float("-inf"), float("nan"), 0.1, 2.0 ** 53,
]
ODD_NUMBERS = [
    "01", "1.", ".5", "-", "+1", "1e", "1e+", "-0", "-0.0", "1E400", "-1e999", "1e-400", "0x1", "-Infinity", "Infinity",
    "-NaN", "1_0", "9" * INT_DIGITS_MAX,
]
if hasattr(sys, "get_int_max_str_digits"):  # Older Pythons convert integers of any length.
    ODD_NUMBERS.append("9" * (INT_DIGITS_MAX + 1))


class Maker:
    """Makes random values, and counts them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.values = 0

    def string(self, surrogates):
        r = self.random
        parts = []
        for _ in range(r.choice((0, 1, 1, 2, 3, 5, 12))):
            kind = r.random()
            if kind < 0.35:
                parts.append("".join(r.choices("abcdefghijklmnopqrstuvwxyz0123456789-_ ", k=r.randrange(1, 12))))
            elif kind < 0.65:
                parts.append(r.choice(ODD))
            elif kind < 0.70 and surrogates:
                parts.append(chr(r.randrange(0xD800, 0xE000)))
            else:
                low, high = r.choice(PLANES)
                parts.append("".join(chr(r.randrange(low, high)) for _ in range(r.randrange(1, 4))))
        return "".join(parts)

    def number(self):
        r = self.random
        kind = r.randrange(12)
        if kind == 0:
            return r.choice(EDGE_FLOATS)
        if kind < 4:
            return struct.unpack("<d", struct.pack("<Q", r.getrandbits(64)))[0]
        if kind == 4:  # A power of two or a neighbour: ties between the shortest digits are here.
            bits = struct.unpack("<Q", struct.pack("<d", 2.0 ** r.randrange(-1074, 1024)))[0]
            return struct.unpack("<d", struct.pack("<Q", max(0, bits + r.randrange(-2, 3))))[0]
        if kind == 5:  # Few digits, any exponent.
            return float("%de%d" % (r.randrange(-999, 1000), r.randrange(-30, 31)))
        if kind == 6:
            return r.uniform(-1e6, 1e6)
        if kind == 7:
            return r.randrange(-5, 6)
        if kind == 8:
            return r.choice((1, -1)) * 2 ** r.randrange(60, 70) + r.randrange(-2, 3)
        if kind == 9:
            return r.choice((1, -1)) * r.getrandbits(r.randrange(1, 2000))
        return r.randrange(-100000, 100000)

    def value(self, depth):
        self.values += 1
        r = self.random
        kind = r.random()
        if kind < 0.40:
            return self.string(True)
        if kind < 0.70:
            return self.number()
        if kind < 0.80 or depth >= 6:
            return r.choice((None, True, False))
        if kind < 0.90:
            return [self.value(depth + 1) for _ in range(r.choice((0, 1, 2, 3, 5)))]
        return {self.string(True): self.value(depth + 1) for _ in range(r.choice((0, 1, 2, 3, 5)))}

    def event(self):
        data = {self.string(True): self.value(0) for _ in range(self.random.choice((0, 1, 2, 3, 4, 6, 15)))}
        if self.random.random() < 0.1:
            data["timestamp"] = self.value(4)
        # One name in a hundred may hold a lone surrogate, for which uuid5 raises.
        name, entity_type, entity_id = (self.string(self.random.random() < 0.01) for _ in range(3))
        return {
            "id": None,
            "name": name,
            "type": entity_type + "." + name,
            "entity_type": entity_type,
            "entity_id": entity_id,
            "timestamp": TIMESTAMP,
            "data": data,
        }

    def spoilt(self, line):
        """Changes a line of JSON so that Python may refuse it."""
        r = self.random
        kind = r.randrange(6)
        at = r.randrange(len(line))
        if kind == 0:
            return line[:at]
        if kind == 1:
            return line[:at] + r.choice('{}[]",:0123456789.eE+-\\uNI \t\x0b\x1f') + line[at + 1:]
        if kind == 2:
            return line[:at] + r.choice('{}[]",:0123456789.eE+-\\uNI \t\x0b\x1f') + line[at:]
        if kind == 3:
            return line[:at] + line[at + 1:]
        if kind == 4:
            number = r.choice(ODD_NUMBERS)
            return line.replace('"data": {', '"data": {"number": %s, ' % number, 1).replace(", }", "}")
        # A repeated key.
        return line.replace('"data": {', '"data": {"b": 1, "a": [2], "b": {"c": 1, "d": 2, "c": 3}, "a": 4, ', 1) \
                   .replace(", }", "}")


def expected(line):
    """Returns the id that PANTHER computes from a line, or `-` when Python refuses it."""
    try:
        event = json.loads(line)
        data = event["data"]
        fields = [event[key] for key in ("name", "entity_type", "entity_id", "type", "timestamp")]
        if not isinstance(data, dict) or not all(isinstance(field, str) for field in fields):
            return "-"
        if fields[4] != TIMESTAMP or event.get("id") is not None:
            return None  # What the reader asks of these is its own rule.
        fields[3].encode("utf-8")
        text = ""
        if data:
            text = str({key: str(value) for key, value in sorted(data.items()) if key != "timestamp"})
        return str(uuid.uuid5(NAMESPACE, "%s:%s:%s:%s" % (fields[1], fields[0], fields[2], text)))
    except (ValueError, KeyError, TypeError):
        return "-"


def printable_lines():
    """Yields an event for every code point, so that each is compared by itself."""
    for first in range(0, 0x110000, 64):
        event = {"name": "n", "type": "t", "entity_type": "e", "entity_id": "i", "timestamp": TIMESTAMP}
        event["data"] = {"key": "".join(chr(point) for point in range(first, first + 64))}
        yield json.dumps(event)


def lines(maker, options):
    """Yields lines of JSON until enough values are made: events, and among them spoilt ones."""
    while maker.values < options.values:
        line = json.dumps(maker.event(), ensure_ascii=maker.random.random() < 0.5)
        try:
            line.encode("utf-8")
        except UnicodeEncodeError:  # A lone surrogate has only the escaped form.
            line = json.dumps(json.loads(line))
        yield line
        if maker.random.random() < 0.1:
            spoilt = maker.spoilt(line)
            # A line feed cannot be in a line, and a blank line has an empty answer.
            if "\n" not in spoilt and spoilt.strip():
                yield spoilt
    if options.check_printable:
        yield from printable_lines()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", required=True, help="the command panther-events")
    parser.add_argument("--values", type=int, default=1000000, help="how many random values to make")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(48))
    parser.add_argument("--check-printable", action="store_true", help="compare every code point too")
    options = parser.parse_args()

    version = "3.10" if sys.version_info[:2] == (3, 9) else "%d.%d" % sys.version_info[:2]
    print("seed %d, Python %s" % (options.seed, sys.version.split()[0]))
    maker = Maker(options.seed)
    answers = []
    file = tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8", newline="\n", delete=False)
    with file:
        for line in lines(maker, options):
            answer = expected(line)
            if answer is not None:
                file.write(line + "\n")
                answers.append(answer)
    before = time.perf_counter()
    command = [options.bin, "panther-id", file.name, "--python", version]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seconds = time.perf_counter() - before
    found = ran.stdout.decode("utf-8").split("\n")
    refused = answers.count("-")

    print("%d values in %d lines, %d of them refused by Python; the command took %.2f s (%.0f lines/s)"
          % (maker.values, len(answers), refused, seconds, len(answers) / seconds))
    if ran.returncode != (1 if refused else 0) or len(found) != len(answers) + 1:
        print("%s: exit code %d, %d lines of output\n%s"
              % (file.name, ran.returncode, len(found) - 1, ran.stderr.decode()[:2000]))
        return 1
    with open(file.name, encoding="utf-8", newline="\n") as written:
        for number, (line, answer, answer_found) in enumerate(zip(written, answers, found), 1):
            if answer != answer_found:
                print("%s:%d: Python says %s, the command %s\n%s"
                      % (file.name, number, answer, answer_found, ascii(line)[:4000]))
                return 1
    os.unlink(file.name)
    print("all ids are the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
