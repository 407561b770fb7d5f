"""vLLM at the end of a pipe.

It runs in an environment that has vLLM, not in Osler's, so it imports nothing of Osler's.

    .venv-vllm/bin/python -I osler/inference/vllm_worker.py \
        '{"folder": ..., "dtype": ..., "positions": ..., "seed": ..., "adapter": null or [folder, rank]}'

Requests come on standard input, answers leave on standard output, each a line of JSON; what vLLM prints goes to standard
error. osler/inference/vllm_backend.py asks and says what is meant.
"""

import json
import os
import sys
from typing import Any

BATCH_TOKENS = 8192  # read at once on a CPU
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for; less is filled up with zeros
MEMORY = 0.85  # of what is free on a GPU: what scores beside it still grows


class Worker:
    """A loaded model. Methods are requests: their arguments and results are JSON."""

    def __init__(
        self, folder: str, dtype: str, positions: int, seed: int, adapter: tuple[str, int] | None = None
    ) -> None:
        import torch
        from vllm import LLM
        from vllm.lora.request import LoRARequest

        of_adapter: dict[str, Any] = {}
        self.request = None
        if adapter:
            path, rank = adapter
            self.request = LoRARequest("adapter", 1, path)
            of_adapter = {"enable_lora": True, "max_loras": 1, "max_lora_rank": min(r for r in RANKS if r >= rank)}
        gpus = torch.cuda.device_count()
        free, total = torch.cuda.mem_get_info() if gpus else (1, 1)
        self.llm = LLM(
            folder,
            dtype=dtype,
            max_model_len=positions + 1,  # vLLM wants room for a token after a text that fills all positions
            seed=seed,
            skip_tokenizer_init=True,
            generation_config="vllm",  # not what the folder recommends for chats
            config_format="hf",
            load_format="safetensors",
            trust_remote_code=False,
            enable_prefix_caching=True,
            tensor_parallel_size=max(1, gpus),
            enforce_eager=not gpus,
            # a prompt that is read in pieces sets back its seed's generator, which torch's for CPUs cannot
            enable_chunked_prefill=bool(gpus),
            max_num_batched_tokens=None if gpus else max(BATCH_TOKENS, positions + 1),
            gpu_memory_utilization=MEMORY * free / total,
            **of_adapter,
        )

    def _asked(self, rows: list[list[int]], params: list[Any]) -> list[Any]:
        prompts: Any = [{"prompt_token_ids": row} for row in rows]
        return list(self.llm.generate(prompts, params, use_tqdm=False, lora_request=self.request))

    def write(
        self, rows: list[list[int]], seeds: list[int], limit: int, temperature: float, top_p: float, ends: list[int]
    ) -> list[list[int]]:
        """Tokens after each row, up to and with the first of `ends`."""
        from vllm import SamplingParams

        plain = {"max_tokens": limit, "temperature": temperature, "top_p": top_p, "detokenize": False}
        params = [SamplingParams(**plain, seed=seed, stop_token_ids=ends, ignore_eos=True) for seed in seeds]
        return [list(result.outputs[0].token_ids) for result in self._asked(rows, params)]

    def score_next(self, rows: list[list[int]], tokens: list[list[int]]) -> list[list[float]]:
        """For each row the log-probabilities of some tokens as the next."""
        from vllm import SamplingParams

        plain = {"max_tokens": 1, "temperature": 0.0, "detokenize": False}
        params = [SamplingParams(**plain, logprob_token_ids=own) for own in tokens]
        found = [result.outputs[0].logprobs[0] for result in self._asked(rows, params)]
        return [[scores[token].logprob for token in own] for scores, own in zip(found, tokens, strict=True)]

    def score_rows(self, rows: list[list[int]]) -> list[list[float]]:
        """For each row the log-probability of each token but the first."""
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False, prompt_logprobs=0)
        results = self._asked(rows, [params] * len(rows))
        return [
            [scores[token].logprob for token, scores in zip(row[1:], result.prompt_logprobs[1:], strict=True)]
            for row, result in zip(rows, results, strict=True)
        ]


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM and its libraries print
    worker = Worker(**json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(worker, request.pop("what"))(**request)), file=answers, flush=True)


if __name__ == "__main__":  # vLLM starts processes of its own that import this file
    main()
