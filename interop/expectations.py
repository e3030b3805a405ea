"""Holds what tests of others come to against the list `expected.txt` of a suite, and counts.

A line of the list names a test, where it is expected, what, and why:

    fails   it must fail, for the reason that follows: one that passes must be taken from the list
    skips   the suite leaves it out by itself
    varies  it passes or fails by chance with Apache Kafka too
"""

import sys

KINDS = ("fails", "skips", "varies")
# Of a test that the list does not name: it must pass.
NOTHING = ("", "")


def table(path):
    """The lines of a list, in words, without remarks."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def expectations(suite, places, place):
    """What is expected in one of the places that a list may name, or in `both`: the kind and the reason of each test."""
    path = suite / "expected.txt"
    found = {}
    for line in table(path):
        name, where, kind, *reason = line + [""] * (3 - len(line))
        if kind not in KINDS or where not in (*places, "both") or not reason:
            sys.exit(f"{path}: {name} {where} {kind}: not understood, or without a reason")
        if where in (place, "both"):
            found[name] = (kind, " ".join(reason))
    return found


class Tally:
    """A line for each test, and their number at the end."""

    def __init__(self):
        self.passed = self.failed = self.failing = self.skipped = 0

    def verdict(self, state, complaint, expected):
        """Counts one test that is `passed`, `failed` or `skipped`; returns the word for it and what is to be said about it."""
        kind, reason = expected
        if state == "passed" and kind in ("", "varies"):
            self.passed += 1
            return "ok", ""
        if state == "failed" and kind == "fails":
            self.failing += 1
            return "expected", f": fails: {reason}"
        if state == "skipped" and kind == "skips":
            self.skipped += 1
            return "expected", f": skips: {reason}"
        self.failed += 1
        stale = f"expected.txt says that it {kind}; " if kind in ("fails", "skips") else ""
        return "FAILED", f": {stale}{state}: {complaint}"

    def conclude(self):
        if self.failing or self.skipped:
            print(f"{self.failing} fail as expected, {self.skipped} are left out as expected")
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)
