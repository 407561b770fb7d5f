"""What runs in a process of its own, under limits."""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from osler.build.bounded import LimitReached, bounded


def test_what_ends_in_time_gives_what_it_returns_or_raises() -> None:
    """Also a large result, and a function that cannot be pickled."""
    factor = 2
    assert bounded(lambda text: text * factor, "ab") == "abab"
    assert len(bounded(lambda: bytes(1 << 24))) == 1 << 24
    with pytest.raises(ValueError, match="^of its own$"):
        bounded(_raise, ValueError("of its own"))
    with pytest.raises(RecursionError):
        bounded(_deeper)


def _raise(error: Exception) -> None:
    raise error


def _deeper() -> None:
    _deeper()


@pytest.mark.parametrize(
    ("function", "limit"),
    [
        (lambda: re.search("(a|a)*b", "a" * 60), "^more than 0.3 s$"),  # in C, deaf to signals' handlers
        (lambda: sum(iter(int, 1)), "^more than 0.3 s$"),
        (lambda: "a" * (1 << 30), "^more than 64 MB$"),
        (lambda: [bytes(1 << 20) for _ in iter(int, 1)], "^more than 64 MB$"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "^more than a process can do, which was ended by SIGSEGV$"),
        (lambda: os._exit(3), "^more than a process can do, which ended with 3$"),
    ],
)
def test_what_takes_too_much_is_ended_and_told(function: Callable[[], Any], limit: str) -> None:
    """Within little more than its time."""
    started = time.monotonic()
    with pytest.raises(LimitReached, match=limit):
        bounded(function, seconds=0.3, megabytes=64)
    assert time.monotonic() - started < 5


def test_what_only_waits_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no CPU time."""
    monkeypatch.setattr("osler.build.bounded.WAIT_SECONDS", 0.2)
    with pytest.raises(LimitReached, match="^more than 0.01 s$"):
        bounded(time.sleep, 60, seconds=0.01)


def test_time_that_others_take_does_not_count() -> None:
    """A function that waits longer than its CPU time returns."""
    bounded(time.sleep, 0.3, seconds=0.1)


def test_nothing_is_left_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    """No limit in this process, no thread, no child, no output; and a call costs milliseconds."""
    bounded(int)
    started, threads = time.monotonic(), threading.active_count()
    for _ in range(10):
        bounded(int)
    assert time.monotonic() - started < 2
    assert threading.active_count() == threads
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    sys.stdout.flush()
    assert capfd.readouterr() == ("", "")
