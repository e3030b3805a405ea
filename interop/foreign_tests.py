"""Holds the results of a test suite of others, which has run unchanged, against the list `expected.txt` of our suite.

    foreign_tests.py pytest|go|cargo RESULTS SUITE [--unlucky]

RESULTS is what the framework left: a JUnit file of pytest, the output of `go test -json`, or that of `cargo test`. SUITE is a folder
with `expected.txt`; expectations.py says what it means, and its second column is `milena`, for what waits until we have it, or `both`, for
what Apache Kafka does likewise. `AGAINST=kafka` in the environment says that the broker is Apache Kafka: then what waits must pass.
With `--unlucky` the names of those are printed that failed and may do so by chance: they deserve another attempt.
"""

import json
import os
import re
import sys
import xml.etree.ElementTree
from pathlib import Path

from expectations import NOTHING, Tally, expectations

BROKERS = ("milena", "kafka")
COMPLAINT_LEN_MAX = 400


class Result:
    """What one test came to: `passed`, `failed` or `skipped`."""

    def __init__(self, name, state, complaint="", seconds=None):
        self.name, self.state, self.seconds = name, state, seconds
        self.complaint = " ".join(complaint.split())[:COMPLAINT_LEN_MAX]


def pytest_results(path):
    """Of a JUnit file. A test that fails, and then cannot clean up either, is there twice."""
    found = {}
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname').removeprefix('test.')}::{case.get('name')}"
        fault, skip = case.find("failure"), case.find("skipped")
        fault = case.find("error") if fault is None else fault
        state, said = ("passed", "") if skip is None else ("skipped", skip.get("message"))
        state, said = (state, said) if fault is None else ("failed", fault.get("message") or fault.text)
        if name not in found or state == "failed":
            found[name] = Result(name, state, said, float(case.get("time")))
    return list(found.values())


def go_results(path):
    """Of the events of `go test -json`. A test without an end has taken the others that were running with it."""
    ends = {"pass": "passed", "fail": "failed", "skip": "skipped"}
    states, output, seconds = {}, {}, {}
    for line in path.read_text().splitlines():
        # What the compiler says is no event.
        event = json.loads(line) if line.startswith("{") else {"Action": "output", "Output": line}
        name, action = event.get("Test", ""), event["Action"]
        if action == "output":
            output.setdefault(name, []).append(event["Output"])
        elif action == "run":
            states[name] = "failed"
        elif action in ends:
            states[name], seconds[name] = ends[action], event.get("Elapsed")
    # The package itself, which fails without a test if it does not compile or comes to its time limit.
    package = states.pop("", "failed")
    if package == "failed" and "failed" not in states.values():
        states["package"] = "failed"
        output["package"] = output.get("", ["go test ended too early"])

    def said(name):
        lines = [line.strip() for line in output.get(name, []) if not re.match(r"\s*(===|---)", line)]
        return " ".join(lines[-3:])

    return [Result(name, state, said(name), seconds.get(name)) for name, state in states.items()]


def cargo_results(path):
    """Of the output of `cargo test`: `Running tests/FILE.rs (..)`, a line a test, and a last line for each binary."""
    results, binary, open_binary = {}, "", ""

    def keep(*result):
        # Another attempt stands behind the first.
        results[result[0]] = Result(*result)

    text = path.read_text(errors="replace")
    for line in text.splitlines():
        if start := re.match(r"\s+Running (?:unittests )?(?:\S*/)?(\w+)\.rs \(", line):
            if open_binary:
                keep(open_binary, "failed", "it ended before its tests did")
            binary = open_binary = start.group(1)
        elif end := re.match(r"test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:, (.*))?$", line):
            name, state, reason = end.groups()
            state = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}[state]
            keep(f"{binary}::{name}", state, reason or cargo_complaint(text, name))
        elif line.startswith("test result:"):
            open_binary = ""
    if open_binary:
        keep(open_binary, "failed", "it ended before its tests did")
    return list(results.values())


def cargo_complaint(text, name):
    found = re.search(rf"^---- {re.escape(name)} stdout ----\n(.*?)(?=^---- |^failures:)", text, re.MULTILINE | re.DOTALL)
    return found.group(1) if found else ""


READERS = {"pytest": pytest_results, "go": go_results, "cargo": cargo_results}


def main():
    framework, path, suite = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    broker = os.environ.get("AGAINST", "milena")
    if broker not in BROKERS:
        sys.exit(f"AGAINST={broker}: not one of {', '.join(BROKERS)}")
    expected = expectations(suite, BROKERS, broker)
    results = READERS[framework](path)
    if sys.argv[4:] == ["--unlucky"]:
        for result in results:
            if result.state == "failed" and expected.get(result.name, NOTHING)[0] == "varies":
                print(result.name)
        return
    tally = Tally()
    for result in results:
        word, remark = tally.verdict(result.state, result.complaint, expected.pop(result.name, NOTHING))
        seconds = "" if result.seconds is None else f" ({result.seconds:.1f} s)"
        print(f"{word:8s} {result.name}{seconds}{remark}")
    for name in expected:
        word, remark = tally.verdict("not among the tests", f"take it from {suite / 'expected.txt'}", NOTHING)
        print(f"{word:8s} {name}{remark}")
    tally.conclude()


if __name__ == "__main__":
    main()
