"""What a run does as it does it: a line of JSON every few steps, in `scratch/live/<model>-<seed>.jsonl`.

Beside it lies the same as CSV, since `dvc plots show` reads no JSONL:

    dvc plots show scratch/live/cpt-1.csv -x step -y gradient_norm
    osler show training

A line stands for the steps since the one before, so that none falls between lines: its loss is their mean, its norm their
largest. It is written at each step of the run's log, and every ten seconds where these are further apart. A run that is
resumed drops what it had written past its checkpoint. Nothing that is built reads these files, and no result depends on them: speed
and memory are this machine's, this time.
"""

import csv
import io
import json
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from osler.build.files import write_text
from osler.corpus.documents import HELDOUT_DOMAINS
from osler.training.tracker import track

if TYPE_CHECKING:  # `osler show training` reads these files without torch
    from osler.training.checkpoints import State
    from osler.training.speed import Speed

FOLDER = "live"  # below scratch/
EVERY_SECONDS = 10.0
SPIKE = 5.0  # times the median of the norms before
NORMS, FEWEST_NORMS = 100, 10  # before a step, that the median is of
HELDOUT_FIELDS = {domain: f"heldout_{domain}_loss" for domain in HELDOUT_DOMAINS}
FIELDS = (
    *("step", "steps", "tokens", "loss", "router_loss", "noise_free_loss", "consistency_loss"),
    *(*HELDOUT_FIELDS.values(), "gradient_norm", "learning_rate"),
    *("tokens_per_second", "mfu", "peak_memory_bytes", "skipped", "spikes"),
)
NEWEST = {"steps", "consistency_loss", *HELDOUT_FIELDS.values()}  # fields that lines of before have not


class StepSeen(NamedTuple):
    """A step that was done.

    Its losses are means, of labels, of tokens and of conversations.
    """

    step: int
    loss: float
    router_loss: float
    norm: float  # of the gradient before it was clipped
    skipped: bool  # not finite
    consistency_loss: float | None = None


class Live:
    """The live files of a run, written by its first process.

    Args:
        path: of the JSONL; the CSV lies beside it.
        speed: of the run.
        done: steps of the run that were done before; what the files have past them is dropped.
        steps: of the whole run.
        has_router: the model's routers have a loss.
        tracker: one of accelerate's, that gets the same values.
    """

    def __init__(
        self, path: Path, speed: "Speed", done: int, steps: int, has_router: bool, tracker: Any = None
    ) -> None:
        self.path, self.speed, self.steps, self.has_router, self.tracker = path, speed, steps, has_router, tracker
        self._window: list[StepSeen] = []
        self._spikes, self._last, self._stopped = 0, time.monotonic(), False
        kept = [line for line in lines(path) if line["step"] <= done] if done else []
        self._norms = deque((line["gradient_norm"] for line in kept if line["gradient_norm"] is not None), NORMS)
        write_text(path, "".join(f"{json.dumps(line)}\n" for line in kept))
        write_text(self.table, _rows([dict.fromkeys(FIELDS) | line for line in kept], header=True))

    @property
    def table(self) -> Path:
        """The CSV."""
        return self.path.with_suffix(".csv")

    def add(self, seen: StepSeen) -> None:
        """Take a step into the next line."""
        self._window.append(seen)
        if seen.skipped:
            return
        if len(self._norms) >= FEWEST_NORMS and seen.norm > SPIKE * statistics.median(self._norms):
            self._spikes += 1
        self._norms.append(seen.norm)

    def is_due(self) -> bool:
        """Whether the next line need not wait for the log."""
        return time.monotonic() - self._last >= EVERY_SECONDS

    def write(self, state: "State", rate: float, noise_free: float | None, heldout: Mapping[str, float]) -> None:
        """Append a line about the steps since the last one.

        What cannot be written is told once: training goes on.
        """
        line = self._line(state, rate, noise_free, heldout)
        self._window.clear()
        self._spikes, self._last = 0, time.monotonic()
        if self._stopped:
            return
        try:
            for path, text in ((self.path, f"{json.dumps(line)}\n"), (self.table, _rows([line]))):
                with path.open("a", encoding="utf-8") as stream:
                    stream.write(text)
        except OSError as error:
            self._stopped = True
            print(f"warning: {self.path}: not written any more: {error.strerror}", file=sys.stderr, flush=True)
        self._track(line)

    def close(self) -> None:
        """End the tracker's run."""
        if self.tracker:
            self.tracker.finish()

    def _line(
        self, state: "State", rate: float, noise_free: float | None, heldout: Mapping[str, float]
    ) -> dict[str, Any]:
        learned = [seen for seen in self._window if not seen.skipped]
        router = _mean([seen.router_loss for seen in learned]) if self.has_router else None
        speed, mfu = self.speed.since_last(state)
        values = (
            *(state.step, self.steps, state.tokens, _mean([seen.loss for seen in learned]), router, noise_free),
            _mean([seen.consistency_loss for seen in learned if seen.consistency_loss is not None]),
            *(heldout.get(domain) for domain in HELDOUT_FIELDS),
            *(max((seen.norm for seen in learned), default=None), rate, speed, mfu, _peak_memory()),
            *(len(self._window) - len(learned), self._spikes),
        )
        return dict(zip(FIELDS, values, strict=True))

    def _track(self, line: Mapping[str, Any]) -> None:
        if not self.tracker:
            return
        values = {key: value for key, value in line.items() if value is not None and key != "step"}
        if not track(self.tracker, values, line["step"]):
            self.tracker = None


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a live file.

    There are none where there is no file. A run that was killed may have left half of one.
    """
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and line.keys() >= set(FIELDS) - NEWEST:
            found.append(dict.fromkeys(FIELDS) | line)
    return found


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if isfinite(value)]
    return statistics.fmean(finite) if finite else None


def _rows(rows: Sequence[Mapping[str, Any]], header: bool = False) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _peak_memory() -> int:
    """Of the GPU where there is one, else of the process."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
