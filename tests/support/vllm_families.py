"""Several models in one process of vLLM, for test_vllm_families.py: osler/inference/vllm_worker.py with a request to load another.

`.venv-vllm/bin/python -I tests/support/vllm_families.py osler/inference/vllm_worker.py`. To `load` it answers null, or why it could
not; to all else as the worker does.
"""

import gc
import importlib.util
import json
import os
import sys
from typing import Any


def main(path: str) -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM and its libraries print
    spec = importlib.util.spec_from_file_location("vllm_worker", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    worker: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("what")
        answer: Any = None
        if what == "load":
            worker = None
            gc.collect()
            try:
                worker = module.Worker(**request)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                answer = f"{type(error).__name__}: {error}"
        else:
            answer = getattr(worker, what)(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
