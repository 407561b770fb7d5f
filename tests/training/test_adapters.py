"""Adapters: what they start as, what is trained, and what is written."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.validation import validated
from osler.model.adapters import CONFIG, OWN, WEIGHTS, Adapter, adapt, merged, targets, write_adapter
from osler.model.virtual_tokens import Preceded, longer_rows
from osler.training.adapters import AdapterSection, start_name
from osler.training.batches import batch_of
from osler.training.checkpoints import Checkpoint
from osler.training.engines import started_engine
from osler.training.loop import train
from osler.training.prompted_loss import loss_of
from osler.training.run import Run
from tests.support.families import tiny
from tests.support.runs import VOCABULARY, KilledAt, a_run, recipe, rows_of, same
from tests.support.tiny import NUMERICS, launch, tiny_model

LORA: dict[str, Any] = {"method": "lora", "rank": 4, "alpha": 8.0, "target_modules": ["q_proj", "v_proj"]}
METHODS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "dora": LORA | {"method": "dora"},
    "ia3": {"method": "ia3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "prompt_tuning": {"method": "prompt_tuning", "virtual_tokens": 3},
    "prefix_tuning": {"method": "prefix_tuning", "virtual_tokens": 3},
    "gated_residual": {"method": "gated_residual", "inner_width": 16},
}
IDS = torch.tensor([[5, 9, 17, 30, 4, 8]])


def base(experts: int = 0) -> Any:
    return tiny_model(VOCABULARY, experts=experts)


def adapted(method: str, seed: int = 3, **changes: Any) -> tuple[Any, Adapter]:
    model = base()
    return model, adapt(model, METHODS[method] | changes, seed, "adapter.x", 16)


def learned(model: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


def trained(
    method: str, folder: Path, run: Run | None = None, **asked: Any
) -> tuple[Any, Adapter, Mapping[str, Tensor], Checkpoint]:
    """An adapter after ten steps, with checkpoints below `folder`."""
    model, adapter = adapted(method)
    checkpoint = Checkpoint(folder, "code", False, {})
    _, found = train(model, run or a_run(weight_decay=0.0), NUMERICS, checkpoint, launch(**asked))
    return model, adapter, found, checkpoint


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        if isinstance(model, Preceded):
            states: Tensor = model.lm_head(model.model(IDS, use_cache=False).last_hidden_state)
            return states
        found: Tensor = model.eval()(IDS).logits
        return found


@pytest.mark.parametrize(("method", "error"), [("lora", 0.0), ("ia3", 0.0), ("dora", 1e-5)])
def test_a_fresh_adapter_changes_nothing(method: str, error: float) -> None:
    """LoRA and IA3 to the bit; DoRA divides by a norm and multiplies with it."""
    model, _ = adapted(method)
    assert float((logits(model) - logits(base())).abs().max()) <= error


@pytest.mark.parametrize("method", METHODS)
def test_only_the_adapter_learns(method: str, tmp_path: Path) -> None:
    """Base weights are the same to the bit after training; what requires a gradient has changed."""
    before = learned(adapted(method)[0])
    model, _, found, _ = trained(method, tmp_path)
    assert same({name: value.detach() for name, value in base().named_parameters()}, _plain_names(model))
    assert before.keys() == found.keys()
    assert all(not torch.equal(before[name], found[name]) for name in before)


def _plain_names(model: Any) -> dict[str, Tensor]:
    """Weights under the names that they had before peft wrapped their modules."""
    return {name.replace(".base_layer", ""): value.detach() for name, value in model.named_parameters()}


@pytest.mark.parametrize("method", [method for method in METHODS if method != "gated_residual"])
def test_what_is_written_is_read_again(method: str, tmp_path: Path) -> None:
    """By peft as it is and, merged or with virtual tokens, as evaluation does; no logit differs by more than 1e-5."""
    from peft import PeftModel

    model, adapter, found, _ = trained(method, tmp_path / "run")
    write_adapter(adapter, found, tmp_path, tmp_path / "adapter", {})
    loaded = PeftModel.from_pretrained(base(), str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        by_peft = loaded(input_ids=IDS).logits[:, -IDS.shape[1] :]
    own = merged(base(), tmp_path / "adapter")
    assert float((logits(own) - by_peft).abs().max()) < 1e-5
    assert float((by_peft - logits(base())).abs().max()) > 1e-3
    if method not in OWN:
        assert torch.equal(logits(model), by_peft)


def test_rank_and_targets_are_as_asked() -> None:
    """No other module has an adapter, and matrices are as thin as said."""
    model, _ = adapted("lora", rank=2, target_modules=["o_proj"])
    shapes = {name: tuple(value.shape) for name, value in learned(model).items()}
    assert shapes == {
        f"model.layers.{layer}.self_attn.o_proj.lora_{part}.default.weight": shape
        for layer in (0, 1)
        for part, shape in (("A", (2, 32)), ("B", (32, 2)))
    }


def test_all_linear_leaves_out_head_and_routers() -> None:
    """Of a Mixtral, too, and of one whose router is a linear map; the loss multiplies with the head's weight itself."""
    model = base(experts=4)
    for layer in model.model.layers:
        layer.mlp.gate = torch.nn.Linear(32, 4, bias=False)
    assert targets(model, "all-linear", "") == ["k_proj", "o_proj", "q_proj", "v_proj"]
    assert targets(base(), "all-linear", "") == [
        "down_proj",
        "gate_proj",
        "k_proj",
        "o_proj",
        "q_proj",
        "up_proj",
        "v_proj",
    ]
    with pytest.raises(BuildError, match="adapter.x.target_modules: gate: no linear map .* there are k_proj, o_proj"):
        targets(model, ["gate"], "adapter.x.target_modules")
    with pytest.raises(BuildError, match="lm_head: no linear map"):
        targets(base(), ["lm_head"], "")


def test_the_seed_draws_the_first_weights() -> None:
    """Equal seeds give equal ones, others do not; virtual tokens begin as embeddings of tokens."""
    for method in ("lora", "prompt_tuning", "prefix_tuning", "gated_residual"):
        first, second, other = (learned(adapted(method, seed)[0]) for seed in (3, 3, 4))
        assert same(first, second)
        assert not same(first, other)
    virtual_VD = learned(adapted("prompt_tuning")[0])["virtual_tokens"]
    embeddings = base().get_input_embeddings().weight
    assert all(any(torch.equal(row, own) for own in embeddings) for row in virtual_VD)


def test_virtual_tokens_begin_as_large_as_a_model_reads_tokens() -> None:
    """Gemma 3 scales what its table has, by the root of 32; what stands in a token's place is scaled as well."""
    model = tiny("gemma3_text")
    adapt(model, METHODS["prompt_tuning"], 3, "adapter.x", 16)
    embeddings_VD = model.get_input_embeddings()(torch.arange(97))
    assert all(any(torch.equal(row, own) for own in embeddings_VD) for row in model.virtual_tokens)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_to_the_same_bytes(method: str, tmp_path: Path) -> None:
    """Checkpoints hold what is trained and no more."""
    _, _, whole, _ = trained(method, tmp_path / "whole")
    with KilledAt(5):
        trained(method, tmp_path / "killed")
    names = {name for file in (tmp_path / "killed").rglob("*.safetensors") for name in _header(file)}
    assert names == {f"{kind}.{name}" for kind in ("weight", "exp_avg", "exp_avg_sq") for name in whole}
    _, _, resumed, _ = trained(method, tmp_path / "killed")
    assert same(dict(whole), dict(resumed))


def _header(file: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return list(opened.keys())


def test_a_checkpoint_of_an_adapter_is_small(tmp_path: Path) -> None:
    """Of LoRA on two maps of a tiny model it is less than a fifth of the whole model's."""
    sizes = []
    for name, model in (("adapter", adapted("lora")[0]), ("whole", base())):
        with KilledAt(5):
            train(model, a_run(), NUMERICS, Checkpoint(tmp_path / name, "code", False, {}), launch())
        sizes.append(sum(file.stat().st_size for file in (tmp_path / name).rglob("*.safetensors")))
    assert 0 < sizes[0] < sizes[1] / 5


@pytest.mark.parametrize("method", METHODS)
def test_packed_conversations_do_not_see_each_other(method: str) -> None:
    """The loss of a packed row is the sum of its segments' own, each in a row of its own."""
    model, _ = adapted(method)
    with torch.no_grad():
        for number, value in enumerate(value for value in model.parameters() if value.requires_grad):
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(number)))
    packed = rows_of([[5, 4, 6], [9, 3]])
    row = batch_of([(packed, 0), (packed, 1)])
    loss = loss_of(model)
    whole = loss(*row.tensors())[0]
    apart, start = 0.0, 0
    for index, lengths in enumerate([[5, 4, 6], [9, 3]]):
        start = 0
        for length in lengths:
            one = replace(packed, row_ends_R=packed.row_ends_R[:1] * 0 + 1, lengths_S=packed.lengths_S[:1] * 0 + length)
            own = replace(one, tokens_RT=packed.tokens_RT[index : index + 1, start : start + length])  # type: ignore[index]
            apart += float(loss(*batch_of([(own, 0)]).tensors())[0])
            start += length
    assert float(whole) == pytest.approx(apart, abs=1e-4)


def test_virtual_tokens_are_those_of_peft_on_one_text() -> None:
    """Labels' loss of one conversation equals peft's own prompt tuning to 1e-6, forward and in the gradient."""
    from peft import get_peft_model

    model, adapter = adapted("prompt_tuning")
    own = loss_of(model)
    one = rows_of([[16]])
    batch = batch_of([(one, 0)])
    (ours := own(*batch.tensors())[0]).backward()
    other = get_peft_model(base(), adapter.config)
    with torch.no_grad():
        other.prompt_encoder.default.embedding.weight.copy_(model.virtual_tokens)
    labels = torch.cat([torch.full((1, 1), -100), batch.labels_BT[:, :-1]], 1)
    theirs = other(input_ids=batch.tokens_BT, labels=labels).loss * 15
    theirs.backward()
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)
    gradient = other.prompt_encoder.default.embedding.weight.grad
    assert float((model.virtual_tokens.grad - gradient).abs().max()) < 1e-5


def test_longer_rows_have_virtual_tokens_before_each_segment() -> None:
    """By hand: two segments of 2 and 1 tokens and padding of 1; then one of 4."""
    found = longer_rows(torch.tensor([[0, 1, 0, 0], [0, 1, 2, 3]]), 2)
    assert found.virtual_BW.tolist() == [[0, 1, -1, -1, 0, 1, -1, 0, 1, -1], [0, 1, -1, -1, -1, -1, -1, -1, -1, -1]]
    assert found.positions_BW.tolist() == [[0, 1, 2, 3, 0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]]
    assert found.tokens_BT.tolist() == [[2, 3, 6, 9], [2, 3, 4, 5]]


@pytest.mark.parametrize("method", ["lora", "prompt_tuning", "prefix_tuning", "gated_residual"])
def test_neftune_with_alpha_0_is_none(method: str, tmp_path: Path) -> None:
    """And with another alpha it is some."""
    found = {alpha: trained(method, tmp_path / str(alpha), a_run(alpha=alpha))[2] for alpha in (0.0, 5.0)}
    again = trained(method, tmp_path / "again", a_run())[2]
    assert same(dict(found[0.0]), dict(again))
    assert not same(dict(found[0.0]), dict(found[5.0]))


WRITE = """
import sys; from pathlib import Path
from tests.training.test_adapters import adapted, learned
from osler.model.adapters import write_adapter
model, adapter = adapted("lora", target_modules="all-linear")
write_adapter(adapter, learned(model), Path(sys.argv[1]), Path(sys.argv[1]), {})
"""


def test_the_same_bytes_under_every_hash_seed(tmp_path: Path) -> None:
    """Keys and lists of adapter_config.json are sorted, and no path of this machine is in it."""
    found = []
    for seed in ("0", "1", "7"):
        folder = tmp_path / seed
        command = [sys.executable, "-c", WRITE, str(folder)]
        import os

        subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
        found.append([(folder / name).read_bytes() for name in (CONFIG, WEIGHTS)])
    assert found[0] == found[1] == found[2]
    config = json.loads(found[0][0])
    assert list(config) == sorted(config)
    assert config["target_modules"] == sorted(config["target_modules"])
    assert str(tmp_path).encode() not in found[0][0]
    assert start_name(Path("/some/where/models/cpt/seeds/2")) == "models/cpt/seeds/2"


def section(**changes: Any) -> dict[str, Any]:
    own = (
        {"from": "base", "rows": "instructions", "neftune_alpha": 0.0, "epochs": 1.0}
        | LORA
        | recipe().model_dump(mode="json")
        | changes
    )
    return {key: value for key, value in own.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, r"adapter.x.rank: .* greater than or equal to 1 \(it is 0\)"),
        (
            {"method": "lorra"},
            "adapter.x: .*'lorra'.* 'lora', 'dora', 'qlora', 'ia3', 'prompt_tuning', 'prefix_tuning', 'gated_resid",
        ),
        ({"from": "adapter-y"}, "adapter.x.from: an adapter stands on a whole model"),
        ({"virtual_tokens": 3}, "adapter.x.virtual_tokens: unknown key"),
        ({"target_modules": ["q_proj", "q_proj"]}, "adapter.x.target_modules.*q_proj is named twice"),
        ({"rank": None}, "adapter.x.rank: Field required"),
        (
            METHODS["ia3"] | {"feedforward_modules": ["o_proj"], "rank": None, "alpha": None},
            "adapter.x: feedforward_modules has o_proj, which target_modules has not",
        ),
    ],
    ids=str,
)
def test_a_wrong_section_is_told_in_one_line(changes: dict[str, Any], message: str) -> None:
    """By the keys of its own method."""
    validated("adapter.x", section(), AdapterSection)
    with pytest.raises(BuildError, match=message):
        validated("adapter.x", section(**changes), AdapterSection)


def test_too_many_virtual_tokens_are_refused() -> None:
    """They take positions of the model."""
    with pytest.raises(
        BuildError, match=r"adapter.x.virtual_tokens: 113 before a conversation of 16 tokens .* 128 positions"
    ):
        adapted("prompt_tuning", virtual_tokens=113)


def test_deepspeed_trains_no_adapter() -> None:
    """It is refused before anything is divided."""
    model, _ = adapted("lora")
    with pytest.raises(BuildError, match="launch.engine: deepspeed trains no adapter; use python, ddp or fsdp"):
        started_engine(loss_of(model), recipe(), NUMERICS, launch(engine="deepspeed", zero_stage=1, processes=2))
