"""Model folders: standard, whole, and the same bytes whatever Python's hash seed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open

from osler.build.files import file_hash
from osler.build.pipeline import ROOT
from osler.model.architecture import Architecture, Experts
from osler.model.folder import fresh_model, trainable_model, write_model
from tests.support.tiny import tiny_tokenizer

SIZES = Architecture(
    hidden_size=16, layers=1, heads=2, key_value_heads=1, intermediate_size=16, initializer_range=0.1,
    tie_embeddings=True, maximum_positions=32, experts=None,
)  # fmt: skip

WRITE = """
import sys
from pathlib import Path
from tests.model.test_folder import SIZES
from osler.model.folder import fresh_model, write_model
write_model(fresh_model(SIZES, Path(sys.argv[1]), 1), Path(sys.argv[1]), Path(sys.argv[2]), {})
"""


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_a_written_model_is_one_that_transformers_loads_unchanged(tokenizer: Path, tmp_path: Path) -> None:
    """Weights, tied head, tokenizer, generation config and provenance, and no pickle.

    A chat template that lies with the tokenizer stays there.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = fresh_model(SIZES, tokenizer, 3)
    write_model(model, tokenizer, tmp_path / "out", {"why": "test"})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == tiny_tokenizer().get_vocab()
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template is None
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "provenance.json", "tokenizer.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


def test_the_bytes_do_not_depend_on_pythons_hash_seed(tokenizer: Path, tmp_path: Path) -> None:
    """With tied weights a writer that picks a name out of a set gives one of two files."""
    hashes = set()
    for seed in ("0", "1", "2", "3"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": ""}
        arguments = [sys.executable, "-c", WRITE, str(tokenizer), str(tmp_path / seed)]
        subprocess.run(arguments, check=True, env=environment, cwd=ROOT, capture_output=True)
        hashes.add(file_hash(tmp_path / seed / "model.safetensors"))
    assert len(hashes) == 1


def test_sizes_that_do_not_fit_are_refused() -> None:
    """Heads that do not divide the width, or that no pairs make up; more experts a token than there are."""
    with pytest.raises(ValidationError, match="hidden_size must be a multiple of heads"):
        Architecture(**SIZES.model_dump() | {"heads": 3, "key_value_heads": 3})
    for hidden_size, heads in ((36, 4), (8, 8)):
        with pytest.raises(
            ValidationError, match=f"a head of {hidden_size // heads} numbers cannot be rotated by pairs"
        ):
            Architecture(**SIZES.model_dump() | {"hidden_size": hidden_size, "heads": heads, "key_value_heads": heads})
    with pytest.raises(ValidationError, match="per_token is more than number"):
        Experts(number=2, per_token=3, router_loss_coefficient=0.02)


def test_experts_make_a_mixtral_that_keeps_its_router_loss(tokenizer: Path, tmp_path: Path) -> None:
    """Written and loaded again, the coefficient and the weights are those that were set; in the file each expert has the
    names that other programs know."""
    sizes = SIZES.model_copy(update={"experts": Experts(number=3, per_token=2, router_loss_coefficient=0.02)})
    model = fresh_model(sizes, tokenizer, 3)
    write_model(model, tokenizer, tmp_path / "out", {})
    loaded = trainable_model(tmp_path / "out")
    assert type(loaded).__name__ == "MixtralForCausalLM"
    assert (loaded.config.num_local_experts, loaded.config.num_experts_per_tok) == (3, 2)
    assert loaded.config.router_aux_loss_coef == 0.02
    with safe_open(tmp_path / "out/model.safetensors", framework="pt") as file:
        assert "model.layers.0.block_sparse_moe.experts.2.w1.weight" in file.keys()  # noqa: SIM118 - no mapping
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_an_empty_model_has_all_but_the_weights(tokenizer: Path, tmp_path: Path) -> None:
    """Configuration (it is part of a checkpoint's key) and shapes are those of the loaded one; no storage."""
    write_model(fresh_model(SIZES, tokenizer, 3), tokenizer, tmp_path / "out", {})
    whole, empty = trainable_model(tmp_path / "out"), trainable_model(tmp_path / "out", empty=True)
    assert empty.config.to_dict() == whole.config.to_dict()
    shapes = {name: value.shape for name, value in whole.named_parameters()}
    assert {name: value.shape for name, value in empty.named_parameters()} == shapes
    assert all(value.is_meta for value in empty.parameters())
