"""Whether this machine computes with the bits of the committed results.

A few steps of a small training are hashed, and the hash is compared.

Under `numerics.portable` it does on every x86-64 CPU with AVX2. One without, or of another kind, trains models of other
bytes: their metrics differ from the committed ones by more than an experiment's effect, so whoever works there commits a build of
their own first. `make repro` says so before and after it builds. 4 s, once a machine and version of torch: the digest is
remembered in scratch/, and taken while the build begins.
"""

import hashlib
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osler.build.files import read_json, write_json
from osler.build.portability import is_asked
from osler.model.numerics import Numerics
from osler.training.recipe import Recipe

if TYPE_CHECKING:
    from osler.training.batches import Batch

EXPECTED = "9464cf3c532de15de0d4753c07ddcf00"  # on an Intel CPU with AVX-512
VERSION = "2.13.0"  # of torch, that EXPECTED is of
REMEMBERED = Path("scratch/arithmetic.json")
STEPS, VOCABULARY, ROW_TOKENS = 3, 512, 64
ADVICE = (
    "osler: this CPU computes with other bits than the committed results were made with (it has no AVX2, or is no x86-64), so"
    " what is trained here differs from them. Commit your own build first (git commit -am 'Built here'): then metrics diff"
    " and compare are about your changes alone"
)


def step_digest() -> str:
    """The hash of what a few steps of training give.

    It is that of a small Mistral after them, and of its loss on each, under `numerics.portable`.
    """
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from osler.training.engine import adamw
    from osler.training.packed_loss import PackedLoss

    Numerics(portable=True, threads=1, dtype="float32", attention="sdpa", compile=False, liger=False).apply()
    recipe = Recipe(
        batch_tokens=4 * ROW_TOKENS, learning_rate=1e-2, final_learning_rate_fraction=0.1, warmup_fraction=0.0,
        weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-8, gradient_clip=1.0,
    )  # fmt: skip
    torch.manual_seed(7)
    config = MistralConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.08, max_position_embeddings=ROW_TOKENS, tie_word_embeddings=True,
        sliding_window=None,
    )  # fmt: skip
    module = PackedLoss(MistralForCausalLM(config))
    optimizer = adamw(module.parameters(), recipe)
    batch = _batch()
    digest = hashlib.sha256()
    for _ in range(STEPS):
        loss = module(*batch.tensors())[0] / int(batch.kept_BT.sum())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        digest.update(loss.detach().numpy().tobytes())
    for parameter in module.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()[:32]


def _batch() -> "Batch":
    """Four rows of which each holds two documents, all tokens learned."""
    import numpy as np
    import torch

    from osler.training.batches import Batch

    tokens = np.random.default_rng(7).integers(0, VOCABULARY, size=(4, ROW_TOKENS))
    positions = np.tile(np.concatenate([np.arange(24), np.arange(ROW_TOKENS - 24)]), (4, 1))
    labels = np.roll(tokens, -1, axis=1)
    tensors = [torch.from_numpy(each) for each in (tokens, positions, labels, np.ones(tokens.shape, bool))]
    return Batch(tensors[0], tensors[1], tensors[2], tensors[3], [[24, ROW_TOKENS - 24]] * 4)


def _cpu() -> dict[str, str]:
    """What Linux says of the first CPU; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_as_committed(root: Path, wait: bool = True) -> bool:
    """Whether training here gives the bytes of what was committed.

    It is asked of the project in `root`, as far as `numerics` asks for it.

    Args:
        root: the project.
        wait: for the steps of training. Else, where they are not remembered, another process takes them, and the answer is
            what the CPU says of itself.
    """
    from importlib.metadata import version

    if not is_asked(root / "params.yaml"):
        return True  # its results were never those of another machine
    cpu = _cpu()
    name = f"{platform.machine()} {cpu.get('model name') or platform.processor()}"
    this: dict[str, Any] = {"cpu": name, "torch": version("torch").partition("+")[0], "expected": EXPECTED}
    if this["torch"] != VERSION:
        return True  # another torch is another fingerprint of the code, and nobody's committed results
    try:
        known = read_json(root / REMEMBERED)
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    if {key: known.get(key) for key in this} != this or "digest" not in known:
        if not wait:
            subprocess.Popen(
                [sys.executable, "-c", "import sys; from pathlib import Path; from osler.training import arithmetic\n"
                 "arithmetic.is_as_committed(Path(sys.argv[1]))", root],
                cwd=Path(__file__).resolve().parents[2], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            return "avx2" in cpu.get("flags", "").split()
        known = this | {"digest": step_digest()}
        write_json(root / REMEMBERED, known)
    return bool(known["digest"] == EXPECTED)
