"""What `make export` writes is a folder that transformers loads, with a card about these very files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osler.build.files import folder_hash, write_json
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.commands.export import BEGIN, dtype_to_export, write_export
from osler.model.folder import write_model
from osler.model.seeds import model_hash
from osler.tokens.conversations import tokenized
from tests.support.tiny import TEMPLATE, tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as fine-tuning leaves it, and an optimizer as a trunk's."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    write_model(tiny_model(len(tokenizer)), folder / "tokenizer", folder / "cpt", {"steps": 7})
    (folder / "cpt/chat_template.jinja").write_text(TEMPLATE)
    (folder / "cpt/optimizer.safetensors").write_bytes(b"moments")
    return folder / "cpt"


@pytest.fixture
def card(model: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cpt.md"
    path.write_text(f"---\nlicense: other\n---\n\n# cpt\n\n`{folder_hash(model)}`\n")
    return path


def test_transformers_loads_the_folder(model: Path, card: Path, tmp_path: Path) -> None:
    """Model and tokenizer come from it as from the build, the card is README.md, and the optimizer stays behind."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    written = write_export(model, card, tmp_path / "deep/folder")
    folder = tmp_path / "deep/folder"
    assert written == sorted({path.name for path in model.iterdir()} - {"optimizer.safetensors"} | {"README.md"})
    ours, theirs = (AutoModelForCausalLM.from_pretrained(place, local_files_only=True) for place in (model, folder))
    assert all(bool((one == other).all()) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))
    tokenizers = [AutoTokenizer.from_pretrained(place, local_files_only=True) for place in (model, folder)]
    assert tokenizers[1].get_vocab() == tokenizers[0].get_vocab()
    assert tokenizers[1].chat_template == BEGIN.format(mark='"<s>"') + TEMPLATE
    assert (folder / "README.md").read_text() == card.read_text()
    assert json.loads((folder / "provenance.json").read_text()) == {"steps": 7}
    assert [path.name for path in tmp_path.glob("deep/.*")] == []


def test_files_are_copies(model: Path, card: Path, tmp_path: Path) -> None:
    """Writing into the export changes nothing in the build, whose files may be links into DVC's cache."""
    before = folder_hash(model)
    write_export(model, card, tmp_path / "folder")
    with (tmp_path / "folder/model.safetensors").open("r+b") as stream:
        stream.write(b"changed")
    assert folder_hash(model) == before


def test_what_ends_an_answer_is_told_to_who_loads_it(model: Path, tmp_path: Path) -> None:
    """The template's mark beside the ends of base and tokenizer: transformers stops there; where all are named nothing changes."""
    from transformers import AutoModelForCausalLM

    tuned = tmp_path / "tuned"
    shutil.copytree(model, tuned)
    for file in tuned.iterdir():
        file.chmod(0o644)
    mark = "<|mark|>"
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [mark]})
    tokenizer.save_pretrained(tuned)
    (tuned / "chat_template.jinja").write_text(TEMPLATE.replace("{{ eos_token }}", mark))
    write_json(tuned / "generation_config.json", {"eos_token_id": 7, "temperature": 0.5})
    end = tokenizer.convert_tokens_to_ids(mark)
    card = tmp_path / "tuned.md"
    card.write_text(f"`{model_hash(tuned)}`\n")
    write_export(tuned, card, tmp_path / "folder")
    written = json.loads((tmp_path / "folder/generation_config.json").read_text())
    assert written == {"eos_token_id": [tokenizer.eos_token_id, 7, end], "temperature": 0.5}
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "folder", local_files_only=True)
    assert loaded.generation_config.eos_token_id == [tokenizer.eos_token_id, 7, end]
    before = (model / "generation_config.json").read_bytes()
    (tmp_path / "plain.md").write_text(f"`{model_hash(model)}`\n")
    write_export(model, tmp_path / "plain.md", tmp_path / "plain")
    assert (tmp_path / "plain/generation_config.json").read_bytes() == before


@pytest.mark.parametrize("start", ["", "\n", "  ", "{{ '' }}\n", "{# one #}\n  "])
def test_a_conversation_begins_as_it_was_trained(model: Path, tmp_path: Path, start: str) -> None:
    """With one BOS, also where the template leaves it to the tokenizer, which writes none in front of a template's text."""
    from transformers import AutoTokenizer

    talk = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]
    tuned = tmp_path / "tuned"
    shutil.copytree(model, tuned)
    (tuned / "chat_template.jinja").chmod(0o644)
    (tuned / "chat_template.jinja").write_text(start + TEMPLATE.replace("{{ bos_token }}", ""))
    (tmp_path / "tuned.md").write_text(f"`{model_hash(tuned)}`\n")
    write_export(tuned, tmp_path / "tuned.md", tmp_path / "folder")
    ours, theirs = (
        AutoTokenizer.from_pretrained(place, local_files_only=True) for place in (tuned, tmp_path / "folder")
    )
    ids = theirs.apply_chat_template(talk, return_dict=False)
    assert ids == tokenized(ours, talk)[0].tolist()
    assert ids.count(ours.bos_token_id) == 1


def test_a_folder_with_something_in_it_is_left_alone(model: Path, card: Path, tmp_path: Path) -> None:
    """Also one that holds only a hidden file; an empty folder is used."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full/.git").touch()
    for place in (tmp_path / "full", card):
        with pytest.raises(BuildError, match="is there and not an empty folder"):
            write_export(model, card, place)
    assert [path.name for path in (tmp_path / "full").iterdir()] == [".git"]
    (tmp_path / "empty").mkdir()
    assert "README.md" in write_export(model, card, tmp_path / "empty")


def test_a_card_of_other_files_is_refused(model: Path, tmp_path: Path) -> None:
    """After a training without a report the card is about weights that are gone."""
    stale = tmp_path / "cpt.md"
    for text in (None, "# cpt\n\n`0123456789abcdef`\n"):
        if text:
            stale.write_text(text)
        with pytest.raises(BuildError, match="cpt.md: no card of these files; run `dvc repro report`"):
            write_export(model, stale, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "a new or empty folder"),
        ([], 2, "Usage: osler export"),
        (["cpt-nefune", "x"], 1, "no model"),
    ],
)
def test_the_command_says_what_it_wants(arguments: list[str], code: int, said: str) -> None:
    """Help, what is missing, and a name that is no model's, each without a traceback."""
    command = [sys.executable, "-m", "osler", "export", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_weights_in_the_type_that_is_asked_for(model: Path, card: Path, tmp_path: Path) -> None:
    """Loaded as they are, they give the logits of the cast model to the bit; config, card and provenance say so."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "half"
    names = write_export(model, card, folder, "bfloat16")
    assert names == write_export(model, card, tmp_path / "whole")
    assert {one.dtype for one in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    tokens = torch.arange(20)[None]
    theirs = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    ours = AutoModelForCausalLM.from_pretrained(model, local_files_only=True, dtype=torch.bfloat16)
    assert theirs.dtype == torch.bfloat16
    assert torch.equal(theirs(tokens).logits, ours(tokens).logits)
    assert json.loads((folder / "provenance.json").read_text()) == {"steps": 7, "exported_dtype": "bfloat16"}
    assert (folder / "README.md").read_text().startswith(card.read_text())
    assert "cast to bfloat16 (`osler export --dtype bfloat16`)" in (folder / "README.md").read_text()


def test_the_index_of_several_files_says_their_bytes(model: Path, card: Path, tmp_path: Path) -> None:
    """Files keep their names; their size is halved in the index too."""
    import torch
    from safetensors.torch import load_file, save_file

    split = tmp_path / "split"
    split.mkdir()
    weights = load_file(model / "model.safetensors")
    halves = [dict(list(weights.items())[part::2]) for part in (0, 1)]
    files = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    for name, half in zip(files, halves, strict=True):
        save_file(half, split / name, {"format": "pt"})
    total = sum(one.nbytes for one in weights.values())
    where = {name: file for file, half in zip(files, halves, strict=True) for name in half}
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (split / "model.safetensors.index.json").write_text(json.dumps(index))
    (split / "config.json").write_text(json.dumps({"torch_dtype": "float32", "vocab_size": 3}))
    card.write_text(f"`{folder_hash(split)}`")
    write_export(split, card, tmp_path / "folder", "bfloat16")
    written = json.loads((tmp_path / "folder/model.safetensors.index.json").read_text())
    assert written == {"metadata": {"total_size": total // 2}, "weight_map": where}
    assert json.loads((tmp_path / "folder/config.json").read_text()) == {"dtype": "bfloat16", "vocab_size": 3}
    for file, half in zip(files, halves, strict=True):
        cast = load_file(tmp_path / "folder" / file)
        assert all(torch.equal(cast[name], value.bfloat16()) for name, value in half.items())


@pytest.mark.parametrize(
    ("stored", "base", "asked", "expected"),
    [
        ("float32", "float32", None, None),
        ("float32", "bfloat16", None, "bfloat16"),
        ("float32", "bfloat16", "float32", None),
        ("float32", "float32", "bfloat16", "bfloat16"),
        ("bfloat16", "bfloat16", None, None),
        ("bfloat16", "bfloat16", "float32", "float32"),
        ("float32", None, None, None),
    ],
)
def test_unless_asked_weights_go_as_the_base_came(
    tmp_path: Path, stored: str, base: str | None, asked: Any, expected: str | None
) -> None:
    """By the base's config.json, under the key's new name or its old one; without one, as they are stored."""
    for name, key, dtype in (("model", "dtype", stored), ("base", "torch_dtype", base)):
        (tmp_path / name).mkdir()
        if dtype:
            (tmp_path / name / "config.json").write_text(json.dumps({key: dtype}))
    assert dtype_to_export(tmp_path / "model", tmp_path / "base", asked) == expected
    if base is None:
        assert dtype_to_export(tmp_path / "model", None, asked) == expected
