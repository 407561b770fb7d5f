"""The micro build on a base of a Hub on this machine: pack, continued pretraining, fine-tuning and an evaluation."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from osler.build.files import read_json
from osler.tokens.marks import end_ids, marks_in
from osler.tokens.shards import PackedRows
from tests.model.test_base_tokenizer import address, served
from tests.model.test_download import COMMIT
from tests.support.project import ENVIRONMENT, copied, ran
from tests.tokens.test_marks import CHATML

__all__ = ["address"]  # a fixture

BROUGHT = {
    "seeds": [1],
    "pretrain": {},
    "download_model": {"base": {"repository": "owner/model", "revision": COMMIT, "files": ["*.json", "*.safetensors"]}},
    "architecture": None,
    "chat_template": None,
}


@pytest.mark.dag
@pytest.mark.builds
def test_a_mixture_without_bos_goes_through_the_build(address: str, tmp_path: Path) -> None:
    """A tiny Qwen3-MoE with ChatML: its own tokenizer, marks and template everywhere, and routers that are trained."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = served(tmp_path / "served")
    (tmp_path / "project").mkdir()
    environment = ENVIRONMENT | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
    project = copied(tmp_path / "project", "micro", environment)
    folder = project.folder
    params = yaml.safe_load((folder / "params.yaml").read_text()) | BROUGHT
    params["strategies"] = {name: own if name == "zero_shot" else None for name, own in params["strategies"].items()}
    params["tokenizer"] |= {"kind": "base", "sources": {}, "vocabulary_size": None}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    project.run(sys.executable, "-m", "osler", "check")
    project.run("dvc", "repro", "-q", "evaluate@cpt-sft")
    assert not ran(project.run("dvc", "repro", "evaluate@cpt-sft"))

    assert marks_in(folder / "models/cpt-sft").bos is None
    rows = PackedRows.open(folder / "data/packed/clinical/notes")
    width, ends = params["pack"]["sequence_length_tokens"], 0
    for row in range(len(rows.row_ends_R)):
        lengths = rows.segment_lengths(row)
        for part in np.split(rows.tokens_RT[row], np.cumsum(lengths))[: len(lengths)]:
            assert own.eos_token_id not in part[:-1]
            assert part[-1] == own.eos_token_id or len(part) == width  # whole, or a part of a long document
            ends += part[-1] == own.eos_token_id
    assert ends > 0
    assert (folder / "models/cpt-sft/chat_template.jinja").read_text() == CHATML
    tokenizer = AutoTokenizer.from_pretrained(folder / "models/cpt-sft")
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in end_ids(folder / "models/cpt-sft", tokenizer)

    states = {}
    for name in ("base", "cpt", "cpt-sft"):
        model = AutoModelForCausalLM.from_pretrained(folder / "models" / name)
        assert model.config.model_type == "qwen3_moe"
        states[name] = model.state_dict()
    for before, after in (("base", "cpt"), ("cpt", "cpt-sft")):
        same = [name for name, value in states[before].items() if value.equal(states[after][name])]
        assert not [name for name in same if "gate" in name or "proj" in name]
    settings = read_json(folder / "models/cpt-sft/provenance.json")["settings"]
    assert (settings["config"]["model_type"], settings["config"]["num_experts_per_tok"]) == ("qwen3_moe", 2)
    place = folder / "results/predictions/cpt-sft"
    answers = pl.read_parquet(place / "predictions.parquet")
    assert answers.height > 0
    assert answers["scores"].explode().is_finite().all()
    assert pl.read_parquet(place / "experts.parquet")["expert"].n_unique() == 4
