"""Runs tests of librdkafka's own test-runner, unchanged, one number after the other, and holds what fails against a list.

    librdkafka_tests.py TESTS BROKER SUITE [--scenario NAME] PROTOCOL...

TESTS is the folder with the built test-runner, SUITE a folder with `expected.txt` and perhaps `tests.txt`. Without `tests.txt` every test
runs that librdkafka declares for the scenario and that needs a broker. A test stands in `expected.txt` with the protocol it is expected
for, or `both`, and

    fails   it must fail, for the reason that follows: one that passes must be taken from the list
    skips   librdkafka leaves it out by itself
    varies  it passes or fails by chance with Apache Kafka too: it has three attempts, and one of them must pass

The environment narrows a run down: `TESTS=0045,0113` and `PROTOCOLS=consumer`. Each number leaves its log in $CACHE. A few tests start
Kafka's own programs from $KAFKA_PATH.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

# A number that takes longer hangs: librdkafka's own limits are shorter.
SECONDS_MAX = 1800
ATTEMPTS_MAX = 3
# As librdkafka's own runs against a broker have it.
TIMEOUT_MULTIPLIER = 2
BROKER_VERSION = "4.3.1"


class Test:
    """One test as librdkafka declares it; several may share a number, and run together."""

    def __init__(self, name, flags, scenarios):
        self.name = name
        self.number = name[:4]
        self.by_hand = "TEST_F_MANUAL" in flags or "TEST_F_KNOWN_ISSUE" in re.findall(r"\w+", flags)
        self.needs_broker = "TEST_F_LOCAL" not in flags
        self.scenarios = scenarios


def declared(folder):
    text = (folder / "test.c").read_text()
    text = text[text.index("struct test tests[]"):]
    for entry in re.finditer(r"\b_TEST\((\w+),\s*([^;]*?)\)(?=,\s*(?:_TEST|/\*|#|\{NULL))", text):
        name, rest = entry.groups()
        scenario = re.search(r'\.scenario\s*=\s*"([^"]*)"', rest)
        flags = rest.split(",")[0]
        yield Test(name, flags, scenario.group(1).split(",") if scenario else ["default"])


def table(path):
    """The lines of a list, in words, without remarks."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def expectations(suite, protocol):
    found = {}
    for name, where, kind, *reason in table(suite / "expected.txt"):
        if kind not in ("fails", "skips", "varies") or where not in ("classic", "consumer", "both") or not reason:
            sys.exit(f"{suite / 'expected.txt'}: {name} {where} {kind}: not understood, or without a reason")
        if where in (protocol, "both"):
            found[name] = (kind, " ".join(reason))
    return found


class Runner:
    def __init__(self, folder, broker, suite, scenario, protocol):
        self.folder, self.broker, self.scenario, self.protocol = folder, broker, scenario, protocol
        self.work = Path(os.environ["CACHE"]) / suite.name
        self.work.mkdir(parents=True, exist_ok=True)
        self.configuration = self.work / "test.conf"
        self.configuration.write_text(
            f"bootstrap.servers={broker}\ntest.topic.random=true\ntest.timeout.multiplier={TIMEOUT_MULTIPLIER}\n"
        )

    def log(self, number):
        return self.work / f"{self.protocol}-{number}.log"

    def run(self, number, subtests):
        """Runs the tests of a number that need a broker: what became of each by name, and how the program ended."""
        report = self.work / "report.json"
        report.unlink(missing_ok=True)
        given = {
            "TESTS": number,
            "SUBTESTS": subtests,
            "TEST_SCENARIO": self.scenario,
            "TEST_CONSUMER_GROUP_PROTOCOL": self.protocol,
            "TEST_KAFKA_VERSION": BROKER_VERSION,
            "TEST_REPORT": str(report),
            "RDKAFKA_TEST_CONF": str(self.configuration),
            "BROKERS": self.broker,
            "LD_LIBRARY_PATH": f"{self.folder.parent}/src:{self.folder.parent}/src-cpp",
        }
        # On CI librdkafka leaves tests out; and an empty name is none to it.
        inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "SUBTESTS")}
        environment = inherited | {name: value for name, value in given.items() if value}
        with open(self.log(number), "w") as log:
            command = ["./test-runner", "-p1", "-L"]
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            try:
                ending = process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                ending = f"not ended after {SECONDS_MAX} s"
        try:
            tests = json.loads(report.read_text())["tests"]
        except (OSError, ValueError):
            tests = {}
        return tests, ending

    def lines(self, number):
        text = self.log(number).read_text(errors="replace")
        return [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]

    def complaint(self, test):
        """The lines of a number's log that say what failed first, or why it was left out."""
        lines = self.lines(test.number)
        for index, line in enumerate(lines):
            if re.search(rf'### Test "{test.name}\b|{test.name}\b.*SKIPPING TEST', line):
                return " ".join(lines[index : index + 2])[:400]
        return " ".join(lines[-2:])[:400]


class Tally:
    def __init__(self):
        self.passed = self.failed = self.expected = self.skipped = 0


def judge(runner, tests, subtests, expected, tally):
    """Runs the tests that share a number, again for those alone that fail by chance, and counts each."""
    number = tests[0].number
    found, ending = runner.run(number, subtests)
    complaints = {test.name: runner.complaint(test) for test in tests}
    # A filter that names no part lets everything pass.
    empty = subtests and not any("[ do_test_" in line and "PASS" in line for line in runner.lines(number))
    states = {test.name: found.get(test.name, {}).get("state", "no report") for test in tests}
    seconds = {test.name: found.get(test.name, {}).get("duration", 0) for test in tests}
    attempts = 1
    while attempts < ATTEMPTS_MAX:
        again = [name for name, state in states.items() if state != "PASSED" and expected.get(name, ("",))[0] == "varies"]
        if not again:
            break
        attempts += 1
        found, ending = runner.run(number, subtests)
        states |= {name: found.get(name, {}).get("state", "no report") for name in again}
    # Then nothing failed that was counted, and yet something did: threads or memory that a test left behind.
    unclean = ending != 0 and "FAILED" not in {test.get("state") for test in found.values()}

    for test in tests:
        state, (kind, reason) = states[test.name], expected.get(test.name, ("", ""))
        if state == "PASSED" and kind in ("", "varies") and not unclean and not empty:
            tally.passed += 1
            word, remark = "ok", f": attempt {attempts}" if kind == "varies" and attempts > 1 else ""
        elif state == "SKIPPED" and kind == "skips":
            tally.skipped += 1
            word, remark = "skips", f": {reason}"
        elif state not in ("PASSED", "SKIPPED") and kind == "fails":
            tally.expected += 1
            word, remark = "fails", f": {reason}"
        else:
            tally.failed += 1
            stale = f"expected.txt says that it {kind}; " if kind in ("fails", "skips") else ""
            ended = f"ended with {ending}, " if unclean else "has no such part, " if empty else ""
            word, remark = "FAILED", f": {stale}{ended}{state}: {complaints[test.name]} (log: {runner.log(number)})"
        part = f" {subtests}" if subtests else ""
        print(f"{word:6s} {test.name}{part} {runner.protocol} ({seconds[test.name]:.1f} s){remark}", flush=True)


def main():
    folder, broker, suite, *rest = sys.argv[1:]
    folder, suite = Path(folder).resolve(), Path(suite)
    scenario = "default"
    if rest[0] == "--scenario":
        scenario, rest = rest[1], rest[2:]
    protocols = os.environ.get("PROTOCOLS", "").split(",") if os.environ.get("PROTOCOLS") else rest
    numbers = os.environ.get("TESTS", "")

    known = [test for test in declared(folder) if test.needs_broker and not test.by_hand and scenario in test.scenarios]
    chosen = table(suite / "tests.txt") or [[number] for number in sorted({test.number for test in known})]
    chosen = [entry for entry in chosen if entry[0] in numbers] if numbers else chosen
    tally = Tally()
    for protocol in protocols:
        expected = expectations(suite, protocol)
        runner = Runner(folder, broker, suite, scenario, protocol)
        for number, *subtests in chosen:
            tests = [test for test in known if test.number == number]
            if not tests:
                sys.exit(f"librdkafka has no test {number} that needs a broker in the scenario {scenario}")
            judge(runner, tests, " ".join(subtests), expected, tally)
    print(f"{tally.expected} fail as expected, {tally.skipped} are left out by librdkafka itself")
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
