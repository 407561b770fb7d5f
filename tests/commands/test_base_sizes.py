"""Sizes of a base that is brought: from params, from the downloaded config.json, or not known."""

from pathlib import Path
from typing import Any

import pytest

from osler.build.files import write_json
from osler.build.pipeline import ROOT, read_params
from osler.build.section import BuildError
from osler.build.validation import PARAMS
from osler.commands.base_sizes import base_sizes, check_base
from osler.commands.limits import check_memory, check_model
from osler.commands.plan_costs import cost_lines, placement
from osler.commands.references import check_references

BASE = {"repository": "owner/model", "revision": "0" * 40, "files": ["*.json", "*.safetensors"]}
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 1600,
    "intermediate_size": 96, "max_position_embeddings": 100,
}  # fmt: skip


def brought() -> dict[str, Any]:
    """The default with a base of the Hub that brings all there is."""
    params = read_params(ROOT / PARAMS)
    tokenizer = {"kind": "base", "sources": {}, "sample_limit_bytes": 1}
    return params | {
        "pretrain": {}, "download_model": {"base": BASE}, "architecture": None, "tokenizer": tokenizer, "chat_template": None,
    }  # fmt: skip


def downloaded(root: Path, **changes: Any) -> None:
    (root / "models/base").mkdir(parents=True, exist_ok=True)
    write_json(root / "models/base/config.json", CONFIG | changes)
    write_json(root / "models/base/provenance.json", {key: BASE[key] for key in ("repository", "revision")})


def test_sizes_that_nobody_knows_fail_nothing(tmp_path: Path) -> None:
    """And `plan` says so."""
    params = brought()
    check_base(params)
    check_model(params, tmp_path)
    check_memory(params, tmp_path)
    check_references(params, ROOT)
    sizes = base_sizes(params, tmp_path)
    assert (sizes.counted, sizes.positions) == (None, None)
    assert "not known before models/base is downloaded" in sizes.why_not


def test_the_downloaded_config_tells_them(tmp_path: Path) -> None:
    """If it is of the commit in force; of a type that is not counted only the positions."""
    params = brought()
    downloaded(tmp_path)
    counted = base_sizes(params, tmp_path).counted
    assert counted
    assert (counted[0].layers, counted[0].key_value_heads, counted[1]) == (2, 4, 1600)
    placed = placement(params["launch"], ())
    assert next(cost_lines({}, params, placed, None, tmp_path)).startswith("Llama of ")
    with pytest.raises(BuildError, match=r"evaluate.window_tokens: \d+, above architecture.maximum_positions 100"):
        check_model(params, tmp_path)
    downloaded(tmp_path, model_type="gemma3_text")
    sizes = base_sizes(params, tmp_path)
    assert (sizes.counted, sizes.positions) == (None, 100)
    assert "a gemma3_text, whose costs are not counted" in sizes.why_not
    params["download_model"] = {"base": BASE | {"revision": "1" * 40}}
    assert base_sizes(params, tmp_path).positions is None


def test_a_base_has_more_embeddings_than_its_tokenizer_has_tokens(tmp_path: Path) -> None:
    """Those of params until it is downloaded, then its own; one that is made here has those of params."""
    params = read_params(ROOT / PARAMS)
    made = params["tokenizer"]["vocabulary_size"]
    downloaded(tmp_path)
    for sections, expected in (({"download_model": {"base": BASE}, "pretrain": {}}, 1600), ({}, made)):
        counted = base_sizes(params | sections, tmp_path).counted
        assert counted
        assert counted[1] == expected
    counted = base_sizes(params | {"download_model": {"base": BASE}, "pretrain": {}}, tmp_path / "elsewhere").counted
    assert counted
    assert counted[1] == made


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pretrain": {"base": {}}}, "architecture: null, and pretrain makes a model of it; write its sizes"),
        ({"download_model": {}}, "tokenizer.kind: base takes the tokenizer of download_model.base, and there is none"),
        (
            {"tokenizer": {"kind": "bpe"}},
            "chat_template: null takes the base's own, which only tokenizer.kind base brings",
        ),
    ],
)
def test_combinations_that_cannot_be_are_told(changes: dict[str, Any], said: str) -> None:
    """One line each."""
    with pytest.raises(BuildError, match=f"^params.yaml: {said}"):
        check_base(brought() | changes)
