"""Stop a run before its end, with a checkpoint of the step that it is at.

SIGTERM and SIGUSR1 ask for it, as SLURM sends them to a job that it preempts, and so do Ctrl-C and the end of a SLURM job's
time. A second Ctrl-C ends a process at once. All processes agree on the step: about once a second, after as many steps as
the first process does in that time, they sum up who has been asked. Under torchrun a process may be asked through a file,
too, that its agent makes (agent.py): a torchrun that is sent a signal would otherwise end its workers within half a minute.

A run that is stopped ends with exit code 75, EX_TEMPFAIL of sysexits.h: the next one goes on.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from osler.build.section import STOPPED, StoppedError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
ASKED = "OSLER_STOP"  # a file of this machine: once it is there, its processes stop
WHY = "OSLER_STOPPED"  # a file that the first process writes when it has stopped, for who started it
END = "SLURM_JOB_END_TIME"  # of the job, in seconds since 1970
HINT = b"\nosler: stops after this step, with a checkpoint; Ctrl-C again ends at once\n"
INTERVAL_SECONDS = 1.0  # between two agreements

_received: list[int] = []


class Summing(Protocol):
    """What of an engine is needed here."""

    rank: int

    def summed(self, values: list[float]) -> list[float]:
        """Each value summed over the processes."""


def listen() -> None:
    """Take SIGTERM, SIGUSR1 and the first SIGINT as the wish to stop.

    They end this process no more. Processes that this one has started, which train other seeds, are told too.
    """
    for one in SIGNALS:
        signal.signal(one, _note)
    signal.signal(signal.SIGINT, _interrupted)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # what came while this process began to run is told now


def listen_no_more() -> None:
    """Pass over SIGTERM and SIGUSR1.

    All is done, and a process that ends by one would seem to have failed. Ctrl-C ends it as any other.
    """
    for one in SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _note(number: int, _: Any) -> None:
    _received.append(number)
    for child in multiprocessing.active_children():
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)  # not SIGINT, which a terminal sends them itself


def _interrupted(number: int, frame: Any) -> None:
    if signal.SIGINT in _received:
        if multiprocessing.parent_process() is not None:
            os._exit(128 + number)  # of another seed: the first process says what there is to say
        signal.default_int_handler(number, frame)
    if multiprocessing.parent_process() is None and os.environ.get("RANK", "0") == "0":
        os.write(2, HINT)
    _note(number, frame)


class Stopping:
    """Whether all processes of a run are to stop now.

    Args:
        engine: of the run.
        minutes_before_end: of a SLURM job, that stopping may take; None: its end is not looked at.
        environment: of this process.
    """

    def __init__(self, engine: Summing, minutes_before_end: float | None, environment: Mapping[str, str]) -> None:
        self.engine = engine
        self.file = Path(environment[ASKED]) if ASKED in environment else None
        self.why = Path(environment[WHY]) if WHY in environment else None
        self.end = float("inf")
        if minutes_before_end is not None and END in environment:
            self.end = float(environment[END]) - 60 * minutes_before_end
        self.every, self.steps, self.last, self.is_time = 1, 0, time.monotonic(), False

    def is_asked(self) -> bool:
        """Whether to stop before the next step.

        All processes call it before each.
        """
        self.steps += 1
        if self.steps < self.every:
            return False
        now = time.monotonic()
        told = bool(_received) or bool(self.file and self.file.exists())
        elapsed = now - self.last if self.engine.rank == 0 else 0.0
        signaled, over, seconds = self.engine.summed([float(told), float(time.time() >= self.end), elapsed])
        steps = int(self.steps * INTERVAL_SECONDS / max(seconds, 1e-6))
        self.every = max(1, min(2 * self.steps, steps))  # before the first step no time has passed
        self.steps, self.last, self.is_time = 0, now, not signaled
        return bool(signaled or over)

    def error(self, label: str, step: int, steps: int) -> StoppedError:
        """What ends the run `label`.

        `step` of `steps` are done. It has the exit code for who started this process.
        """
        if self.why and self.engine.rank == 0:
            self.why.write_text(f"{'time' if self.is_time else 'signal'} {step}\n", encoding="utf-8")
        reason = ", before the job's time is over" if self.is_time else ""
        # to torchrun a worker's exit code is a failure, at which it may start all again: its agent says 75
        code = 0 if self.file else STOPPED
        return StoppedError(f"{label}: stopped at step {step} of {steps}{reason}; run again to go on", code)
