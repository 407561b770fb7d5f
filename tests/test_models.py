"""Model folders: standard, whole, and the same bytes whatever Python's hash seed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stages.lib.architecture import Architecture
from stages.lib.files import file_hash
from stages.lib.models import fresh_model, loaded_model, write_model
from stages.lib.section import BuildError
from stages.lib.stage import ROOT
from tests.tiny import tiny_tokenizer

SIZES = Architecture(
    hidden_size=16, layers=1, heads=2, key_value_heads=1, intermediate_size=16, initializer_range=0.1,
    tie_embeddings=True, maximum_positions=32,
)  # fmt: skip

WRITE = """
import sys
from pathlib import Path
from tests.test_models import SIZES
from stages.lib.models import fresh_model, write_model
write_model(fresh_model(SIZES, Path(sys.argv[1]), 1), Path(sys.argv[1]), Path(sys.argv[2]), {})
"""


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_a_written_model_is_one_that_transformers_loads_unchanged(tokenizer: Path, tmp_path: Path) -> None:
    """Weights, tied head, tokenizer with chat template, generation config and provenance, and no pickle."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = fresh_model(SIZES, tokenizer, 3)
    write_model(model, tokenizer, tmp_path / "out", {"why": "test"})
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
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


def test_sizes_that_do_not_fit_and_mixtures_of_experts_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    """Heads that do not divide the width; a router whose loss would silently be off."""
    from transformers import MixtralConfig, MixtralForCausalLM

    with pytest.raises(BuildError, match=r"params.yaml: architecture: hidden_size"):
        fresh_model(SIZES.model_copy(update={"heads": 3}), tokenizer, 1)
    config = MixtralConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=2, router_aux_loss_coef=0.02,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(tmp_path / "moe")
    with pytest.raises(BuildError, match="router loss is not trained"):
        loaded_model(tmp_path / "moe")
