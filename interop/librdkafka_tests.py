"""Runs tests of librdkafka's own test-runner, unchanged, one number after the other, and holds what fails against a list.

    librdkafka_tests.py TESTS BROKER SUITE [--scenario NAME] PROTOCOL...

TESTS is the folder with the built test-runner, SUITE a folder with `expected.txt` and perhaps `tests.txt`. Without `tests.txt` every test
runs that librdkafka declares for the scenario and that needs a broker. A test stands in `expected.txt` with the protocol it is expected
for, or `both`, and what expectations.py says; one that varies has six attempts, and one of them must pass.

The environment narrows a run down: `TESTS=0045,0113` and `PROTOCOLS=consumer`. Each number leaves its log in $CACHE. A few tests start
Kafka's own programs from $KAFKA_PATH.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from expectations import NOTHING, Tally, expectations, table

# A number that takes longer hangs: librdkafka's own limits are shorter.
SECONDS_MAX = 1800
ATTEMPTS_MAX = 6
# As librdkafka's own runs against a broker have it.
TIMEOUT_MULTIPLIER = 2
BROKER_VERSION = "4.3.1"
PROTOCOLS = ("classic", "consumer")


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


class Runner:
    def __init__(self, folder, broker, suite, scenario, protocol):
        self.folder, self.broker, self.scenario, self.protocol = folder, broker, scenario, protocol
        self.work = Path(os.environ["CACHE"]) / suite.name
        self.work.mkdir(parents=True, exist_ok=True)
        self.configuration = self.work / "test.conf"
        self.configuration.write_text(
            f"bootstrap.servers={broker}\ntest.topic.random=true\ntest.timeout.multiplier={TIMEOUT_MULTIPLIER}\n"
        )

    def run(self, number, part, attempt=1):
        """Runs those tests of a number that need a broker, or the part of them that is named so."""
        words = [self.protocol, number, part, str(attempt) if attempt > 1 else ""]
        log = self.work / ("-".join(word for word in words if word) + ".log")
        report = log.with_suffix(".json")
        report.unlink(missing_ok=True)
        given = {
            "TESTS": number,
            "SUBTESTS": part,
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
        with open(log, "w") as output:
            process = subprocess.Popen(
                ["./test-runner", "-p1", "-L"],
                cwd=self.folder, env=environment, stdout=output, stderr=output, start_new_session=True,
            )
            try:
                ending = process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                ending = f"nothing for {SECONDS_MAX} s"
        return Outcome(log, report, part, ending)


class Outcome:
    """What one start of the test-runner left behind."""

    def __init__(self, log, report, part, ending):
        self.log = log
        try:
            self.tests = json.loads(report.read_text())["tests"]
        except (OSError, ValueError):
            self.tests = {}
        text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace"))
        self.lines = [line.strip() for line in text.splitlines() if line.strip()]
        self.fault = ""
        if part and not any(part in line and ": PASS" in line for line in self.lines):
            # A name that no part has lets everything pass.
            self.fault = f"no part {part} passed"
        elif ending != 0 and "FAILED" not in {test["state"] for test in self.tests.values()}:
            # Threads or memory that a test left behind, or an end without a report.
            self.fault = f"the test-runner ended with {ending}"

    def state(self, name):
        state = self.tests.get(name, {}).get("state", "")
        if state == "PASSED":
            return "failed" if self.fault else "passed"
        return "skipped" if state == "SKIPPED" else "failed"

    def seconds(self, name):
        return self.tests.get(name, {}).get("duration", 0)

    def complaint(self, name):
        """The lines that say what failed first, or why it was left out."""
        if self.tests.get(name, {}).get("state") == "PASSED" and self.fault:
            return self.fault
        for index, line in enumerate(self.lines):
            if re.search(rf'### Test "{name}\b|{name}\b.*SKIPPING TEST', line):
                return " ".join(self.lines[index : index + 2])[:400]
        return " ".join(self.lines[-2:])[:400]


def judge(runner, tests, part, expected, tally):
    """Runs the tests that share a number, again for those that fail by chance, and counts each."""
    first = runner.run(tests[0].number, part)
    outcomes = {test.name: first for test in tests}
    attempts = 1
    while attempts < ATTEMPTS_MAX:
        unlucky = [
            name for name, outcome in outcomes.items()
            if expected.get(name, NOTHING)[0] == "varies" and outcome.state(name) != "passed"
        ]
        if not unlucky:
            break
        attempts += 1
        outcome = runner.run(tests[0].number, part, attempts)
        outcomes |= {name: outcome for name in unlucky}
    for test in tests:
        outcome = outcomes[test.name]
        complaint = f"{outcome.complaint(test.name)} (log: {outcome.log})"
        word, remark = tally.verdict(outcome.state(test.name), complaint, expected.get(test.name, NOTHING))
        if outcome is not first:
            remark = f": attempt {attempts}{remark}"
        shown = f"{test.name} {part}" if part else test.name
        print(f"{word:8s} {shown} {runner.protocol} ({outcome.seconds(test.name):.1f} s){remark}", flush=True)


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
        expected = expectations(suite, PROTOCOLS, protocol)
        runner = Runner(folder, broker, suite, scenario, protocol)
        for number, *part in chosen:
            tests = [test for test in known if test.number == number]
            if not tests:
                sys.exit(f"librdkafka has no test {number} that needs a broker in the scenario {scenario}")
            judge(runner, tests, " ".join(part), expected, tally)
    tally.conclude()


if __name__ == "__main__":
    main()
