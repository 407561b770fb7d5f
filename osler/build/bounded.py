"""A function in a process of its own, which may take only so much time and memory.

For what a user writes and others run, a regular expression or a template: one that never ends cannot be interrupted from
inside. A forked process needs no imports: 5 ms a call beside what the function takes.
"""

import faulthandler
import multiprocessing
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
WAIT_FACTOR, WAIT_SECONDS = 10, 10  # of a process that waits, or that others keep from running
OUT_OF_MEMORY = "out of memory"


class LimitReached(Exception):
    """What was run took more than it may.

    The message says more than what: "more than 1 s".
    """


def bounded(function: Callable[..., T], *arguments: Any, seconds: float = 1.0, megabytes: int = 512) -> T:
    """What `function` returns for `arguments`, or raises.

    Seconds are of CPU time, so that a busy machine changes nothing; one that only waits is ended, too. Memory is what is
    taken beyond what this process has. The function must end by returning or raising, and print nothing.

    Args:
        function: any; what it returns or raises must be picklable.
        arguments: of it; they need not be.
        seconds: of CPU time.
        megabytes: 1 << 20 bytes each.

    Raises:
        LimitReached: too much time or memory, or the process was ended from inside, as by a stack that is too deep.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(sender, seconds, megabytes, function, arguments), daemon=True)
    child.start()
    sender.close()
    outcome: tuple[str, Any] | None = None
    is_late = not receiver.poll(seconds * WAIT_FACTOR + WAIT_SECONDS)
    with suppress(EOFError):  # it was ended before it could say anything
        outcome = None if is_late else receiver.recv()
    if is_late:
        child.kill()
    child.join()
    receiver.close()
    if is_late or child.exitcode == -signal.SIGPROF:
        raise LimitReached(f"more than {seconds:g} s")
    if outcome is None:
        raise LimitReached(f"more than a process can do, which {_end(child.exitcode)}")
    kind, value = outcome
    if kind == OUT_OF_MEMORY:
        raise LimitReached(f"more than {megabytes} MB")
    if kind == "raised":
        raise value
    result: T = value
    return result


def _send(
    sender: Connection, seconds: float, megabytes: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Run the function under limits, and send what came of it."""
    faulthandler.disable()  # whoever asked says what happened
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also inside of a library
    signal.setitimer(signal.ITIMER_PROF, seconds)
    before = resource.getrlimit(resource.RLIMIT_AS)
    if (pages := Path("/proc/self/statm")).exists():  # where there is none, the system does not keep this limit either
        size = int(pages.read_text().split()[0]) * resource.getpagesize() + (megabytes << 20)
        resource.setrlimit(
            resource.RLIMIT_AS, (size if before[1] == resource.RLIM_INFINITY else min(size, before[1]), before[1])
        )
    try:
        outcome = ("returned", function(*arguments))
    except MemoryError:
        outcome = (OUT_OF_MEMORY, None)
    except Exception as error:  # noqa: BLE001 - raised again where it was asked for
        outcome = ("raised", error)
    signal.setitimer(signal.ITIMER_PROF, 0)
    resource.setrlimit(resource.RLIMIT_AS, before)
    sender.send(outcome)


def _end(code: int | None) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with {code}"
