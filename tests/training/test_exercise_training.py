"""Training on exercises: each seed learns its own draw, an adapter its few weights, and `full` all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osler.build.section import BuildError
from osler.build.validation import validated
from osler.model.seeds import SEEDS
from osler.tokens.instructions import Conversation, write_instructions
from osler.training.adapters import AdapterSection, tuned
from osler.training.checkpoints import Checkpoint
from osler.training.launch import LAUNCH
from osler.training.loop import train
from osler.training.trained_model import _settings
from tests.support.runs import VOCABULARY, recipe
from tests.support.tiny import NUMERICS, launch, tiny_model, tiny_tokenizer

LORA = {"method": "lora", "rank": 2, "alpha": 4.0, "target_modules": ["q_proj"]}


def conversation(number: int) -> Conversation:
    """Eight tokens that are its number, of which the last is learned."""
    ids = np.full(8, number, np.uint16)
    return Conversation("few", f"few/{number}", "MIT", ids, np.arange(8) == 7, 1, 0)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A model, and exercises of which seed 1 draws two and seed 2 two others."""
    tiny_model(VOCABULARY).save_pretrained(tmp_path / "models/base")
    tiny_tokenizer().save_pretrained(tmp_path / "models/base")
    monkeypatch.setenv(LAUNCH, launch().model_dump_json())
    for seed in (1, 2):
        own = [conversation(2 * seed), conversation(2 * seed + 1)]
        write_instructions(tmp_path / "few" / SEEDS / str(seed), own, 16, np.dtype("<u2"), seed)
    return tmp_path / "models/base", tmp_path / "few"


def section(**changes: Any) -> Any:
    values = {"from": "base", "rows": "exercises/few", "neftune_alpha": 0.0, "epochs": 4.0} | recipe().model_dump(
        mode="json"
    )
    return validated("adapter.x", values | changes, AdapterSection)


@pytest.mark.parametrize("method", [{"method": "full"}, LORA], ids=["full", "lora"])
def test_each_seed_learns_its_own_draw(folders: tuple[Path, Path], tmp_path: Path, method: dict[str, Any]) -> None:
    """Its rows and no other's; all weights change under `full` and none of the base under an adapter."""
    model, few = folders
    for seed in (1, 2):
        asked = tuned(model, few, section(**method), "adapter-x", seed)
        assert asked.inputs == {"model": model, "instructions": few / SEEDS / str(seed)}
        row = asked.run.sources["instructions"].tokens_RT[0].tolist()
        assert set(row) == {2 * seed, 2 * seed + 1}
        before = {name: value.detach().clone() for name, value in asked.model.named_parameters()}
        checkpoint = Checkpoint(tmp_path / f"run{seed}", "code", False, {})
        train(asked.model, asked.run, NUMERICS, checkpoint, launch())
        changed = {name for name, value in asked.model.named_parameters() if not value.equal(before[name])}
        whole = {name for name in before if "lora_" not in name}
        assert (changed >= whole) if asked.adapter is None else (changed and not changed & whole)
        assert (asked.adapter is None) == (method["method"] == "full")
        assert ("adapter" in _settings(asked, NUMERICS)) == (asked.adapter is not None)


def test_a_seed_without_a_draw_is_refused(folders: tuple[Path, Path]) -> None:
    """Rather than trained on another seed's."""
    with pytest.raises(BuildError, match="few: no draw of seed 3; list it in `seeds` of the build"):
        tuned(*folders, section(method="full"), "adapter-x", 3)


@pytest.mark.parametrize("rows", ["instruct", "exercises/", "exercises/a/b", "../x", "exercises/.."])
def test_rows_are_instructions_or_a_name(rows: str) -> None:
    """Nothing that is another path."""
    with pytest.raises(BuildError, match=r"adapter.x.rows: "):
        section(method="full", rows=rows)


def test_full_has_no_keys_of_an_adapter() -> None:
    """Rank and the like would be without effect."""
    with pytest.raises(BuildError, match=r"adapter.x.rank: unknown key"):
        section(method="full", rank=3)
