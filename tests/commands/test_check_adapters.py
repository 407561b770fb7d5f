"""What `osler check` says of adapters before anything is trained."""

from typing import Any

import pytest

from osler.build.section import BuildError
from osler.commands.check_adapters import check_adapters
from osler.model import quantization
from osler.model.quantization import VERSION


def params(method: str, engine: str = "python", **changes: Any) -> dict[str, Any]:
    """As far as the check looks: another engine for all other stages."""
    launch = {"engine": "fsdp", "stages": {"adapter": {"engine": engine}}}
    return {"adapter": {"thin": {"method": method}}, "launch": launch, "evaluate": {"vllm": None}} | changes


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "installed", lambda _name: VERSION)


@pytest.mark.parametrize(
    ("method", "engine", "said"),
    [
        ("qlora", "fsdp", "launch.engine fsdp trains no adapter by qlora; write python or ddp below"),
        ("qlora", "deepspeed", "launch.engine deepspeed trains no adapter by qlora; write python or ddp below"),
        ("ia3", "deepspeed", "launch.engine deepspeed trains no adapter by ia3; write python, ddp or fsdp below"),
    ],
)
def test_an_engine_that_trains_no_such_adapter_is_told(method: str, engine: str, said: str) -> None:
    with pytest.raises(BuildError, match=f"params.yaml: adapter.thin: {said} launch.stages.adapter"):
        check_adapters(params(method, engine), is_here=True)


@pytest.mark.parametrize(
    ("method", "engine"), [("qlora", "ddp"), ("qlora", "python"), ("lora", "fsdp"), ("full", "deepspeed")]
)
def test_what_can_be_trained_passes(method: str, engine: str) -> None:
    check_adapters(params(method, engine), is_here=True)


def test_bitsandbytes_is_looked_for_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By qlora alone, and not where adapters are trained on other machines."""
    monkeypatch.setattr(quantization, "installed", lambda _name: None)
    with pytest.raises(BuildError, match="adapter.thin.method: qlora needs bitsandbytes .* run `make qlora`"):
        check_adapters(params("qlora"), is_here=True)
    check_adapters(params("qlora"), is_here=False)
    check_adapters(params("lora"), is_here=True)


@pytest.mark.parametrize("method", ["dora", "ia3", "prompt_tuning", "prefix_tuning", "gated_residual", "qlora"])
def test_what_vllm_cannot_serve_is_told_before_anything_is_trained(method: str) -> None:
    """Also LoRA of a rank that it has no room for."""
    asked = params(method, evaluate={"vllm": {"version": "1", "scores": True}})
    with pytest.raises(BuildError, match=rf"evaluate.vllm: vLLM serves no {method} \(adapter.thin\), but lora up to"):
        check_adapters(asked, is_here=True)
    for rank, fits in ((512, True), (513, False)):
        asked["adapter"] = {"thin": {"method": "lora", "rank": rank}}
        if fits:
            check_adapters(asked, is_here=True)
        else:
            with pytest.raises(BuildError, match="vLLM serves no rank 513"):
                check_adapters(asked, is_here=True)
    check_adapters(params("full", evaluate=asked["evaluate"]), is_here=True)  # a whole model
