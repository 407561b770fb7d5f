"""Options' log-likelihoods beside lm-evaluation-harness: the same numbers, and items a second.

    PEERS/bin/python -m bench.evaluation --model MODEL --root DATA --out results/bench/evaluation.json

Runs in the peer's interpreter, which has this project's packages too (bench/requirements-evaluation.txt). Both are given
the same model in memory and the same texts, `HFLM.loglikelihood` pairs of context and continuation, and go from text to
sums; neither's start, tasks or statistics are counted. BOS is written in the contexts, and not added by either.

Parity is on --items questions of MedMCQA, MMLU and PubMedQA, and on a tenth of them with --shots solved ones before: every
option whose sums differ by more than 1e-4 is listed, and every item that is answered differently by sums (`full_answer`,
their acc), by sums per character (acc_norm) or per byte (`per_byte`, acc_bytes). Prompts that the model cannot read whole,
which the two cut at other places, are left out and counted.

Speed is on --timed questions, without and with the same --shots solved ones before all of a benchmark's. Each side is tried
once with each of its batch sizes and compared with the fastest (the peer's `auto` probes a GPU's memory). Both run in turn,
again and again; a ratio is the mean of the logarithms of neighbors' ratios with a 95 % interval (t). Seconds are CPU seconds
on one thread.

Measured on two busy cores with the cpt-sft of profiles/real-small.yaml (4 layers of 128, vocabulary 32,000), lm-eval 0.4.13,
torch 2.13.0: of 4,720 options of 1,280 prompts none is further apart than 9.7e-5 (mean 2.6e-6), and no answer differs.
52.0 against 8.5 items a second without solved questions, 6.1 times [5.9, 6.3]; with five 52.1 against 1.4, 37.6 times
[36.9, 38.4]. The peer is fastest with one row at a time, this side with 1,024 to 4,096 tokens; with 16,384, the default of
the profiles, it reaches 33 and 17 items a second. A vocabulary this large favors whoever projects fewer tokens onto it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import ONE_THREAD
from osler.build.files import write_json
from osler.build.section import BuildError
from osler.evaluation.benchmark_formats import items_frame
from osler.evaluation.benchmarks import Benchmark, read_items
from osler.evaluation.probabilities import likeliest
from osler.evaluation.protocols import AnswerProtocol
from osler.evaluation.questions import Item, items_of, limited
from osler.inference.interface import Prompt

TOLERANCE = 1e-4  # nats, of an option's sum
SEED = 5
BENCHMARKS = {
    "medmcqa": Benchmark(path="eval/medmcqa", format="medmcqa"),
    "mmlu_medical": Benchmark(path="eval/mmlu_medical", format="mmlu"),
    "pubmedqa": Benchmark(path="eval/pubmedqa", format="pubmedqa"),
}
UNITS: dict[str, Callable[[str], int]] = {
    "sum": lambda _: 1,
    "characters": len,
    "bytes": lambda option: len(option.encode()),
}
PROTOCOL = AnswerProtocol("full_answer", listed=True, instruction="", limit_tokens=16)


@dataclass(frozen=True)
class Question:
    """One item as both sides are asked it."""

    item: Item
    prompt: Prompt


@dataclass(frozen=True)
class Difference:
    """An option whose sums differ by more than the tolerance, or an item that is answered differently."""

    item_id: str
    by: str
    ours: float
    theirs: float


def questions(root: Path, count: int, shots: int) -> list[Question]:
    """`count` test items, as many of each benchmark, after the same `shots` solved ones of it that are not among them."""
    found = []
    for name, section in BENCHMARKS.items():
        items = items_of(items_frame(read_items(root / section.path, section), name))
        tested = limited([item for item in items if item.split == "test"], -(-count // len(BENCHMARKS)), SEED)
        others = limited([item for item in items if item not in set(tested)], shots, SEED)
        found += [Question(item, PROTOCOL.prompt(item, others)) for item in tested]
    return found


def pairs(tokenizer: Any, prompts: Sequence[Prompt]) -> list[tuple[str, list[str]]]:
    """The context of each prompt as text, and the continuation of each option."""
    from osler.inference.prompt_tokens import answer_lead, prompt_texts

    lead = answer_lead(tokenizer)
    texts = prompt_texts(tokenizer, prompts)
    return [
        (
            f"{tokenizer.bos_token}{text.removeprefix(tokenizer.bos_token)}",
            [f"{lead}{option}" for option in prompt.options],
        )
        for text, prompt in zip(texts, prompts, strict=True)
    ]


def our_sums(model: Any, tokenizer: Any, prompts: Sequence[Prompt], batch_tokens: int) -> list[tuple[float, ...]]:
    """Log-likelihoods of each prompt's options, as `evaluate` asks for them."""
    from osler.inference.language_model import LanguageModel
    from osler.inference.torch_backend import TorchBackend

    backend = TorchBackend(model, batch_tokens)
    return [
        scored.sums
        for scored in LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,)).likelihoods(prompts)
    ]


def their_sums(model: Any, tokenizer: Any, prompts: Sequence[Prompt], batch_size: int) -> list[tuple[float, ...]]:
    """The same from lm-evaluation-harness."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, device="cpu")
    asked = [(context, option) for context, options in pairs(tokenizer, prompts) for option in options]
    requests = [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(asked)]
    sums = iter([float(total) for total, _ in harness.loglikelihood(requests, disable_tqdm=True)])
    return [tuple(next(sums) for _ in prompt.options) for prompt in prompts]


def chosen(sums: Sequence[float], options: Sequence[str], by: str) -> int:
    """The option of the highest sum, or of the highest sum by its length in one of UNITS."""
    return likeliest([total / UNITS[by](option) for total, option in zip(sums, options, strict=True)])


def differences(
    items: Sequence[Item], ours: Sequence[tuple[float, ...]], theirs: Sequence[tuple[float, ...]]
) -> list[Difference]:
    """Where two evaluations of the same items part: sums beyond TOLERANCE, and items of which they choose other options.

    `by` says how: `option 0`, ... for a sum, one of UNITS for the choices that differ in it.
    """
    found = []
    for item, own, other in zip(items, ours, theirs, strict=True):
        for place, (one, two) in enumerate(zip(own, other, strict=True)):
            if not abs(one - two) <= TOLERANCE:
                found.append(Difference(item.item_id, f"option {place}", one, two))
        for by in UNITS:
            choices = [chosen(sums, item.options, by) for sums in (own, other)]
            if choices[0] != choices[1]:
                found.append(Difference(item.item_id, by, *map(float, choices)))
    return found


def fitting(model: Any, tokenizer: Any, asked: Sequence[Question]) -> list[Question]:
    """The questions that the model reads whole."""
    from osler.inference.prompt_tokens import trees

    forest = trees(tokenizer, [question.prompt for question in asked], model.config.max_position_embeddings)
    return [question for question, tree in zip(asked, forest, strict=True) if not tree.truncated]


def parity(model: Any, tokenizer: Any, asked: Sequence[Question], batch_tokens: int, batch_size: int) -> dict[str, Any]:
    """How far the two are apart."""
    prompts, items = [question.prompt for question in asked], [question.item for question in asked]
    ours, theirs = our_sums(model, tokenizer, prompts, batch_tokens), their_sums(model, tokenizer, prompts, batch_size)
    apart = [
        abs(one - two) for own, other in zip(ours, theirs, strict=True) for one, two in zip(own, other, strict=True)
    ]
    return {
        "options": len(apart),
        "largest_difference": max(apart),
        "mean_difference": float(np.mean(apart)),
        "differences": [vars(difference) for difference in differences(items, ours, theirs)],
        "per_byte_is_not_per_character": [
            item.item_id
            for item, sums in zip(items, ours, strict=True)
            if chosen(sums, item.options, "bytes") != chosen(sums, item.options, "characters")
        ],
    }


def cpu_seconds(step: Callable[[], object]) -> float:
    """What `step` takes, on all threads together."""
    started = time.process_time()
    step()
    return time.process_time() - started


def speed(
    model: Any,
    tokenizer: Any,
    asked: Sequence[Question],
    batch_tokens: Sequence[int],
    batch_sizes: Sequence[int],
    repetitions: int,
) -> dict[str, Any]:
    """Items a CPU second of both sides in turn, each with the batch that it was fastest with in one trial."""
    from bench.training import ratio

    prompts = [question.prompt for question in asked]
    trials: dict[str, dict[int, float]] = {}
    arms: dict[str, Callable[[], object]] = {}
    for name, sums, sizes in (("ours", our_sums, batch_tokens), ("lm-eval", their_sums, batch_sizes)):
        sums(model, tokenizer, prompts[:2], sizes[0])  # imports and first allocations
        trials[name] = {size: cpu_seconds(partial(sums, model, tokenizer, prompts, size)) for size in sizes}
        arms[name] = partial(sums, model, tokenizer, prompts, min(sizes, key=trials[name].__getitem__))
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for repetition in range(repetitions):
        for name in list(arms)[:: 1 if repetition % 2 else -1]:
            seconds[name].append(cpu_seconds(arms[name]))
            print(f"{name}: {len(asked) / seconds[name][-1]:.1f} items/s", file=sys.stderr, flush=True)
    return {
        "seconds_by_batch": trials,
        "items_per_cpu_second": {name: len(asked) / float(np.median(values)) for name, values in seconds.items()},
        "ours_over_peer": ratio(seconds["ours"], seconds["lm-eval"]),
    }


def loaded(folder: str) -> tuple[Any, Any]:
    """A model with its tokenizer; `random:HIDDENxLAYERS:FOLDER` is one of that size with random weights.

    Speed does not depend on weights, so a larger model need not be trained to be measured.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    size, _, place = folder.rpartition(":")
    tokenizer = AutoTokenizer.from_pretrained(place)
    if not size:
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval(), tokenizer
    hidden, layers = map(int, size.removeprefix("random:").split("x"))
    config = AutoConfig.from_pretrained(place)
    config.hidden_size, config.num_hidden_layers, config.intermediate_size = hidden, layers, 3 * hidden
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = hidden // 64, hidden // 128, 64
    torch.manual_seed(SEED)
    return AutoModelForCausalLM.from_config(config).eval(), tokenizer


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="folder, or random:HIDDENxLAYERS:FOLDER")
    parser.add_argument("--root", type=Path, required=True, help="folder with eval/medmcqa, mmlu_medical and pubmedqa")
    parser.add_argument("--items", type=int, default=1200, help="compared; 0: none")
    parser.add_argument("--timed", type=int, default=150, help="measured; 0: none")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[16384, 4096, 1024], help="ours, tried")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 2, 4, 8], help="theirs, tried")
    parser.add_argument("--out", type=Path, default=Path("results/bench/evaluation.json"))
    options = parser.parse_args(arguments)
    os.environ.update(ONE_THREAD)
    import torch

    try:
        versions = {name: version(name) for name in ("lm-eval", "torch", "transformers")}
    except ModuleNotFoundError as error:
        raise BuildError(f"{error}; run this with the interpreter of bench/requirements-evaluation.txt") from None
    torch.set_num_threads(1)
    model, tokenizer = loaded(options.model)
    found: dict[str, Any] = {"model": options.model, "versions": versions}
    for shots, share in ((0, 1), (options.shots, 10)):
        here: dict[str, Any] = {}
        for name, count in (("parity", options.items // share), ("speed", options.timed)):
            asked = questions(options.root, count, shots) if count else []
            fit = fitting(model, tokenizer, asked)
            if fit and name == "parity":
                here[name] = parity(model, tokenizer, fit, options.batch_tokens[0], options.batch_sizes[-1])
            elif fit:
                here[name] = speed(
                    model, tokenizer, fit, options.batch_tokens, options.batch_sizes, options.repetitions
                )
            if fit:
                here[name] |= {"items": len(fit), "items_too_long": len(asked) - len(fit)}
        found[f"{shots} shots"] = here
    print(json.dumps(found, indent=2))
    write_json(options.out, found)
    return found


if __name__ == "__main__":
    main()
