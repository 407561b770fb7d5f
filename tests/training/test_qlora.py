"""QLoRA: an adapter beside weights of 4 bits.

Skipped where bitsandbytes is not installed (`make qlora`, which CI runs).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from osler.build.packages import installed
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.validation import validated
from osler.commands.doctor import pinned
from osler.inference.torch_backend import frozen_model
from osler.model import quantization
from osler.model.adapters import Adapter, adapt, linear_maps, merged, write_adapter
from osler.model.quantization import VERSION, rounded, whole_elements
from osler.model.throughput import weights_per_token
from osler.training.adapters import AdapterSection
from osler.training.checkpoints import Checkpoint
from osler.training.engines import started_engine
from osler.training.loop import train
from osler.training.prompted_loss import loss_of
from tests.support.runs import VOCABULARY, KilledAt, a_run, recipe, same
from tests.support.tiny import NUMERICS, launch, tiny_model

QLORA: dict[str, Any] = {"method": "qlora", "rank": 4, "alpha": 8.0, "target_modules": ["q_proj", "v_proj"]}
BFLOAT16_CPU = "bitsandbytes.nn.modules.has_avx512bf16"
IDS = torch.tensor([[5, 9, 17, 30, 4, 8]])
needs_bitsandbytes = pytest.mark.skipif(installed("bitsandbytes") != VERSION, reason="make qlora")


def base(experts: int = 0) -> Any:
    """Of heads that make matrices of whole blocks of 64 weights."""
    return tiny_model(VOCABULARY, experts=experts)


def adapted(seed: int = 3) -> tuple[Any, Adapter]:
    model = base()
    return model, adapt(model, QLORA, seed, "adapter.x", 16)


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(IDS).logits
        return found


def packed(model: Any) -> dict[str, Tensor]:
    """Weights in 4 bits with their scales, and all others that stay as they are."""
    kept = {}
    for name, value in model.named_parameters():
        if not value.requires_grad:
            kept[name] = value.detach().clone()
            if hasattr(value, "quant_state"):
                kept[f"{name}.absmax"] = value.quant_state.absmax.clone()
    return kept


def trained(folder: Path) -> tuple[Any, Adapter, Mapping[str, Tensor]]:
    model, adapter = adapted()
    checkpoint = Checkpoint(folder, "code", False, {})
    _, found = train(model, a_run(weight_decay=0.0), NUMERICS, checkpoint, launch())
    return model, adapter, found


def written(folder: Path) -> tuple[Any, Path]:
    """A trained model, and its adapter as a folder with its provenance."""
    model, adapter, found = trained(folder / "run")
    provenance = json.dumps({"settings": {"adapter": adapter.settings}}).encode()
    write_adapter(adapter, found, folder, folder / "adapter", {"provenance.json": provenance})
    return model, folder / "adapter"


@needs_bitsandbytes
def test_a_fresh_adapter_answers_as_the_rounded_model() -> None:
    """To 1e-5; and that is another than the model itself."""
    plain, model = base(), adapted()[0]
    rounded(plain, linear_maps(plain))
    assert float((logits(model) - logits(plain)).abs().max()) < 1e-5
    assert float((logits(plain) - logits(base())).abs().max()) > 1e-2


@needs_bitsandbytes
def test_no_cpu_packs_the_weights_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a CPU has bfloat16 products, bitsandbytes packs weights anew at the first answer; here they and answers stay."""
    monkeypatch.setattr(BFLOAT16_CPU, lambda: True)
    model = adapted()[0]
    before, plain = packed(model), base()
    rounded(plain, linear_maps(plain))
    assert float((logits(model) - logits(plain)).abs().max()) < 1e-5
    assert same(before, packed(model))


@needs_bitsandbytes
def test_only_the_adapter_learns(tmp_path: Path) -> None:
    """Bytes of 4-bit weights, their scales, norms and embeddings are as before; all of the adapter has changed."""
    model, _ = adapted()
    before = packed(model)
    first = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    after, _, found = trained(tmp_path)
    assert same(before, packed(after))
    assert first.keys() == found.keys()
    assert all(not torch.equal(first[name], found[name]) for name in first)
    assert sum(value.dtype == torch.uint8 for value in before.values()) == 28  # 2 layers, 7 maps, weights and scales


@needs_bitsandbytes
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """From a checkpoint of the adapter alone: the model is quantized again."""
    _, _, whole = trained(tmp_path / "whole")
    with KilledAt(5):
        trained(tmp_path / "killed")
    assert same(dict(whole), dict(trained(tmp_path / "killed")[2]))


@needs_bitsandbytes
def test_what_was_trained_is_what_is_evaluated(tmp_path: Path) -> None:
    """Merged into the rounded weights it answers as in training, to 1e-5; into the others it does not."""
    model, folder = written(tmp_path)
    expected = logits(model)
    assert float((logits(merged(base(), folder)) - expected).abs().max()) < 1e-5
    base().save_pretrained(tmp_path / "base")
    assert float((logits(frozen_model(tmp_path / "base", NUMERICS, folder)) - expected).abs().max()) < 1e-5
    (folder / "provenance.json").unlink()
    assert float((logits(merged(base(), folder)) - expected).abs().max()) > 1e-2


@needs_bitsandbytes
def test_evaluated_in_bfloat16_it_is_rounded_once(tmp_path: Path) -> None:
    """Weights in 4 bits are of the float32 ones; the merged ones are then bfloat16, and rotation stays as it was."""
    _, folder = written(tmp_path)
    base().save_pretrained(tmp_path / "base")
    exact = frozen_model(tmp_path / "base", NUMERICS, folder)
    half = frozen_model(tmp_path / "base", NUMERICS.model_copy(update={"dtype": "bfloat16"}), folder)
    for (name, value), (_, own) in zip(exact.named_parameters(), half.named_parameters(), strict=True):
        assert torch.equal(value.bfloat16(), own), name
    assert all(value.dtype == torch.float32 for value in half.buffers())


@needs_bitsandbytes
def test_peft_and_transformers_load_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the base in NF4 by their own means, with the logits of training to 1e-5, where no CPU packs so small maps anew."""
    monkeypatch.setattr(BFLOAT16_CPU, lambda: False)
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    model, folder = written(tmp_path)
    base().save_pretrained(tmp_path / "base")
    asked = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    start = AutoModelForCausalLM.from_pretrained(tmp_path / "base", quantization_config=asked, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(start, str(folder))
    assert float((logits(theirs) - logits(model)).abs().max()) < 1e-5


@needs_bitsandbytes
def test_weights_are_counted_as_those_they_stand_for() -> None:
    """In provenance and for the speed: not as the bytes that hold them."""
    from peft import LoraConfig, get_peft_model

    model, plain = adapted()[0], base()
    get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"]))
    assert sum(map(whole_elements, model.parameters())) == sum(value.numel() for value in plain.parameters())
    assert weights_per_token(model, whole_elements) == weights_per_token(plain)


@needs_bitsandbytes
def test_what_cannot_be_quantized_is_refused() -> None:
    """A mixture, a model that an engine brings, and the engine that would divide it."""
    with pytest.raises(BuildError, match=r"adapter.x.method: qlora: experts of a mixture"):
        adapt(base(experts=4), QLORA | {"target_modules": "all-linear"}, 1, "adapter.x", 16)
    with pytest.raises(BuildError, match=r"adapter.x.method: qlora: divides no model; set launch.engine python"):
        adapt(base().to("meta"), QLORA, 1, "adapter.x", 16)
    with pytest.raises(BuildError, match="launch.engine: fsdp divides no weights of 4 bits"):
        started_engine(loss_of(adapted()[0]), recipe(), NUMERICS, launch(engine="fsdp", processes=2))


def test_without_bitsandbytes_it_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to type."""
    for there, said in ((None, "it is not installed"), ("0.49.0", "0.49.0 is installed")):
        monkeypatch.setattr(quantization, "installed", lambda _name, there=there: there)
        with pytest.raises(
            BuildError, match=rf"adapter.x.method: qlora needs bitsandbytes {VERSION}, and {said}; run `make qlora`"
        ):
            adapted()


def test_the_lock_has_what_is_asked_for() -> None:
    assert pinned((ROOT / "requirements-qlora.lock").read_text()) == {"bitsandbytes": VERSION}


def test_a_section_has_the_keys_of_lora() -> None:
    own = (
        {"from": "base", "rows": "instructions", "neftune_alpha": 0.0, "epochs": 1.0}
        | QLORA
        | recipe().model_dump(mode="json")
    )
    assert validated("adapter.x", own, AdapterSection).method_settings() == QLORA
    with pytest.raises(BuildError, match="adapter.x.bits: unknown key"):
        validated("adapter.x", own | {"bits": 8}, AdapterSection)
