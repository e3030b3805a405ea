"""Runs checks one after the other, says which hold, and ends at the first that does not.

A check is a function whose name is the sentence; it fails by raising. Words in common: a fresh name, and waiting.
"""

import sys
import time
import traceback
import uuid


def fresh(word):
    """A name that nothing else in the cluster carries."""
    return f"{word}-{uuid.uuid4().hex[:8]}"


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: found {shorten(found)}, expected {shorten(expected)}")


def shorten(value):
    text = repr(value)
    return text if len(text) < 600 else text[:600] + " ..."


def eventually(question, what, seconds=30):
    """Asks again until the answer is true, and returns it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = question()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def run(checks):
    for passed, check in enumerate(checks):
        name = check.__name__.replace("_", " ")
        started = time.monotonic()
        try:
            check()
        except BaseException as fault:
            traceback.print_exc()
            print(f"FAILED {name}: {fault}\n{passed} passed, 1 failed", flush=True)
            sys.exit(1)
        print(f"ok     {name} ({time.monotonic() - started:.1f} s)", flush=True)
    print(f"{len(checks)} passed, 0 failed", flush=True)
