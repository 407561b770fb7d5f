"""A base of any family brings its own tokenizer, marks and template, from a Hub on this machine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osler.build.files import read_json, write_json
from osler.build.section import BuildError
from osler.model.folder import trainable_model
from osler.tokens.base_tokenizer import chat_template, special_tokens, write_base_tokenizer
from osler.tokens.marks import marks_in, marks_of
from osler.tokens.tokenizers import difficult_texts
from stages import template as template_stage
from tests.model.test_download import COMMIT, MODEL, address
from tests.support.project import ENVIRONMENT
from tests.tokens.test_marks import BEGINS, CHATML, ENDS, FAMILIES, made

__all__ = ["address"]  # a fixture


def served(folder: Path, family: str = "qwen", tied: bool = False) -> Any:
    """Have the Hub serve a tiny Qwen3-MoE in three shards with a tokenizer of `family`."""
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    tokenizer = made(family)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = Qwen3MoeConfig(
        vocab_size=len(tokenizer) + 5, hidden_size=32, intermediate_size=48, moe_intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_experts=4, num_experts_per_tok=2,
        router_aux_loss_coef=0.02, max_position_embeddings=512, tie_word_embeddings=tied,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=None,
    )  # fmt: skip
    Qwen3MoeForCausalLM(config).save_pretrained(folder, max_shard_size="20KB")
    MODEL.clear()
    MODEL.update({path.name: path.read_bytes() for path in folder.iterdir()})
    return tokenizer


def built(address: str, root: Path) -> str:
    """What both stages print: the tokenizer first, without weights, then the model."""
    script = (
        "import sys; from pathlib import Path; from stages import download_model, tokenizer; from osler.build import hub\n"
        "from osler.build.section import BuildError; from osler.model.origin import DownloadModel\n"
        "from osler.tokens.tokenizers import TokenizerSettings\n"
        "root = Path(sys.argv[1]); hub.ROOT = root\n"
        "base = DownloadModel(repository='owner/model', revision=sys.argv[2], files=('*.json', '*.safetensors'))\n"
        "settings = TokenizerSettings(kind='base', sources={}, sample_limit_bytes=1)\n"
        "try:\n"
        "    tokenizer.main(root / 'documents', root / 'tokenizer', settings, {'base': base})\n"
        "    print('weights fetched:', len(list((root / 'scratch').rglob('*.safetensors'))))\n"
        "    download_model.main(base, None, 'base', root / 'tokenizer', root / 'base')\n"
        "except BuildError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(root), COMMIT],
        cwd=Path(__file__).parents[2],
        env=ENVIRONMENT | {"HF_ENDPOINT": address, "HF_HOME": str(root / "home")},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("tied", [True, False])
def test_a_base_without_bos_comes_with_its_tokenizer_and_template(address: str, tmp_path: Path, tied: bool) -> None:
    """In shards, its head tied or not; weights are fetched by the second stage only, sizes by nobody told."""
    own = served(tmp_path / "served", tied=tied)
    said = built(address, tmp_path)
    assert "weights fetched: 0" in said
    assert f"tokenizer: {len(own)} tokens of owner/model" in said
    shards = [name for name in MODEL if name.endswith(".safetensors")]
    assert len(shards) > 2
    assert sorted(path.name for path in (tmp_path / "base").glob("*.safetensors")) == sorted(shards)
    model = trainable_model(tmp_path / "base")
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    template_stage.main(None, tmp_path / "tokenizer", tmp_path / "template.jinja")
    assert (tmp_path / "template.jinja").read_text() == CHATML
    assert marks_in(tmp_path / "base").bos is None


@FAMILIES
def test_ids_and_marks_are_those_of_the_repository(family: str, tmp_path: Path) -> None:
    """On difficult strings, with marks and without."""
    from transformers import AutoTokenizer

    own = made(family)
    own.save_pretrained(tmp_path / "source")
    write_base_tokenizer(tmp_path / "source", tmp_path / "out", "owner/model")
    written = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in difficult_texts([ENDS[family]]):
        for marks in (True, False):
            ids = own(text, add_special_tokens=marks)["input_ids"]
            assert written(text, add_special_tokens=marks)["input_ids"] == ids
    assert marks_of(written).bos == (own.convert_tokens_to_ids(BEGINS[family]) if BEGINS[family] else None)
    assert (written.eos_token, written.chat_template) == (own.eos_token, own.chat_template)


def test_a_tokenizer_json_alone_gets_its_marks_from_the_models_configs(tmp_path: Path) -> None:
    """The first of several end ids, as the config lists them."""
    own = made("llama3")
    own.save_pretrained(tmp_path / "source")
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "source" / name).unlink()
    with pytest.raises(BuildError, match="owner/model: neither its tokenizer nor config.json names an eos_token"):
        write_base_tokenizer(tmp_path / "source", tmp_path / "out", "owner/model")
    ids = own.convert_tokens_to_ids(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    write_json(tmp_path / "source/config.json", {"bos_token_id": ids[0], "eos_token_id": ids[1:]})
    named = special_tokens(tmp_path / "source", own.backend_tokenizer)
    assert named == {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
    write_base_tokenizer(tmp_path / "source", tmp_path / "out", "owner/model")
    assert (marks_in(tmp_path / "out").bos, marks_in(tmp_path / "out").eos) == tuple(ids[:2])
    with pytest.raises(BuildError, match="chat_template: null, and the base brings none; write one"):
        template_stage.main(None, tmp_path / "out", tmp_path / "template.jinja")


def test_tokens_that_only_the_config_lists_are_added_under_their_ids(tmp_path: Path) -> None:
    """And refused where the ids would be others."""
    from transformers import AutoTokenizer

    own = made("qwen")
    own.save_pretrained(tmp_path / "source")
    config = read_json(tmp_path / "source/tokenizer_config.json")
    token = {"content": "<|tool|>", "special": True, "normalized": False}
    write_json(tmp_path / "source/tokenizer_config.json", config | {"added_tokens_decoder": {str(len(own)): token}})
    assert write_base_tokenizer(tmp_path / "source", tmp_path / "out", "owner/model") == len(own) + 1
    written = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert written("a<|tool|>b", add_special_tokens=False)["input_ids"].count(len(own)) == 1
    write_json(tmp_path / "source/tokenizer_config.json", config | {"added_tokens_decoder": {"999": token}})
    with pytest.raises(BuildError, match=r"gives '<\|tool\|>' the id 999"):
        write_base_tokenizer(tmp_path / "source", tmp_path / "out", "owner/model")


def test_a_hub_with_a_tokenizer_json_alone_and_one_with_tokens_in_its_config(address: str, tmp_path: Path) -> None:
    """Both come through both stages: marks of the first are those of config.json, the second has a token more."""
    own = served(tmp_path / "served")
    config = json.loads(MODEL.pop("tokenizer_config.json"))
    del MODEL["chat_template.jinja"]
    assert "bytes of owner/model" in built(address, tmp_path / "alone")
    marks = marks_in(tmp_path / "alone/base")
    assert (marks.bos, marks.eos) == (None, own.eos_token_id)
    token = {"content": "<|tool|>", "special": True, "normalized": False}
    config["added_tokens_decoder"] = {str(len(own)): token}
    MODEL["tokenizer_config.json"] = json.dumps(config).encode()
    said = built(address, tmp_path / "added")
    assert f"tokenizer: {len(own) + 1} tokens of owner/model" in said
    assert "bytes of owner/model" in said
    written = read_json(tmp_path / "added/base/tokenizer.json")["added_tokens"]
    assert {entry["content"]: entry["id"] for entry in written}["<|tool|>"] == len(own)


def test_an_added_token_that_is_read_under_another_id_is_refused(tmp_path: Path) -> None:
    """Behind a hole `tokenizers` counts on from the number of tokens, without a word."""
    own = made("qwen")
    own.save_pretrained(tmp_path / "source")
    described = read_json(tmp_path / "source/tokenizer.json")
    added = described["added_tokens"][-1] | {"content": "<|tool|>", "id": 70_000}
    write_json(tmp_path / "source/tokenizer.json", described | {"added_tokens": [*described["added_tokens"], added]})
    with pytest.raises(BuildError, match=rf"json gives '<\|tool\|>' the id 70000, `tokenizers` reads {len(own)}; take"):
        write_base_tokenizer(tmp_path / "source", tmp_path / "out", "owner/model")
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_with_a_hole_goes_as_far_as_its_largest_id(address: str, tmp_path: Path) -> None:
    """Taken where the model has as many embeddings, and refused where it has as many as tokens only."""
    served(tmp_path / "served")
    described = json.loads(MODEL["tokenizer.json"])
    vocabulary = described["model"]["vocab"]
    last = max(vocabulary, key=lambda piece: vocabulary[piece])
    vocabulary[last] = 70_000
    MODEL["tokenizer.json"] = json.dumps(described).encode()
    said = built(address, tmp_path)
    rows = json.loads(MODEL["config.json"])["vocab_size"]
    assert f"params.yaml: tokenizer: has ids up to 70000, owner/model embeddings of {rows} only" in said
    MODEL["config.json"] = json.dumps(json.loads(MODEL["config.json"]) | {"vocab_size": 70_001}).encode()
    shutil.rmtree(tmp_path / "scratch")
    shutil.rmtree(tmp_path / "tokenizer")
    assert "bytes of owner/model" in built(address, tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_a_repositorys_own_is_refused(address: str, tmp_path: Path, name: str) -> None:
    """In one line, before a weight is fetched."""
    served(tmp_path / "served")
    MODEL[name] = json.dumps(json.loads(MODEL[name]) | {"auto_map": {"AutoConfig": "x.Y"}}).encode()
    said = built(address, tmp_path)
    assert said.startswith(f"params.yaml: download_model.base: owner/model asks for code of its own ({name}: auto_map)")
    assert said.count("\n") == 1


def test_a_base_without_tokenizer_json_is_refused(address: str, tmp_path: Path) -> None:
    """One line that says what to do."""
    served(tmp_path / "served")
    del MODEL["tokenizer.json"]
    assert "owner/model has no tokenizer.json; set tokenizer.kind to package" in built(address, tmp_path)


def test_a_template_is_found_wherever_it_stands(tmp_path: Path) -> None:
    """In a file of its own first; in the config as text, or of several the one named default."""
    assert chat_template(tmp_path) is None
    several = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    for found, expected in (("one", "one"), (several, "plain"), (several[:1], None)):
        write_json(tmp_path / "tokenizer_config.json", {"chat_template": found})
        assert chat_template(tmp_path) == expected
    (tmp_path / "chat_template.jinja").write_text("own")
    assert chat_template(tmp_path) == "own"


def test_a_template_that_refuses_a_system_role_is_told(tmp_path: Path) -> None:
    """As the first Gemma's does."""
    refusing = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
    )
    own = made("qwen")
    own.chat_template = refusing
    own.save_pretrained(tmp_path / "out")
    with pytest.raises(BuildError, match="chat_template: .*System role not supported"):
        template_stage.main(None, tmp_path / "out", tmp_path / "template.jinja")
    shutil.rmtree(tmp_path / "out")
