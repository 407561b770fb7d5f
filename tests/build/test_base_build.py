"""The micro build on bases of a Hub on this machine, a tiny random model of each family.

Tokenizer files are made small here, in their family's manner (tests/tokens/test_marks.py), since those of the Hub are not at hand:
how they split, their marks, the class that tokenizer_config.json names, and where the chat template stands.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from osler.build.files import read_json
from osler.commands.export import BEGIN
from osler.tokens.shards import PackedRows
from osler.tokens.tokenizers import difficult_texts
from tests.model.test_download import COMMIT, MODEL, address
from tests.support.bases import REPOSITORIES, written
from tests.support.project import ENVIRONMENT, Project, copied, ran

__all__ = ["address"]  # a fixture

SOURCES = ("notes", "towns", "clinical_qa")
MIXTURES = ("mixtral", "qwen3_moe")
ASKED = 6  # items that transformers is asked by itself
TOLERANCE = 1e-4  # of the log-likelihood of an option, in nats
LIMIT = 8  # tokens of a written answer
BROUGHT = {
    "seeds": [1],
    "pretrain": {},
    "download_model": {"base": {"repository": "owner/model", "revision": COMMIT, "files": ["*.json", "*.safetensors"]}},
    "architecture": None,
    "chat_template": None,
    "corpus": {"notes": "clinical", "towns": "general"},
    "task": {},
    "evaluated": ["cpt-sft", "cpt-neftune"],
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The build up to its documents and items, which no base changes."""
    project = copied(tmp_path_factory.mktemp("prepared"), "micro")
    params = yaml.safe_load((project.folder / "params.yaml").read_text()) | BROUGHT
    params["source"] = {name: params["source"][name] for name in SOURCES}
    params["select"]["priority"] = list(SOURCES)
    params["strategies"] = {name: own if name == "zero_shot" else None for name, own in params["strategies"].items()}
    params["tokenizer"] |= {"kind": "base", "sources": {}, "vocabulary_size": None}
    params["mix"] |= {"tokens": 6000, "weights": {"notes": 0.9, "towns": 0.1}}
    params["instruct"] |= {"weights": {"clinical_qa": 1.0}, "conversations": 40}
    params["evaluate"] |= {"compared": ["generation"], "generation_limit_tokens": LIMIT}
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    project.run(sys.executable, "-m", "osler", "check")
    project.run("dvc", "repro", "-q", "select", "benchmarks@synthetic")
    return project


def started(prepared: Project, address: str, folder: Path) -> Project:
    """A copy of the prepared build, which fetches from the Hub at `address`."""
    shutil.copytree(prepared.folder, folder / "project", symlinks=True)
    return Project(folder / "project", ENVIRONMENT | {"HF_ENDPOINT": address, "HF_HOME": str(folder / "home")})


@pytest.mark.dag
@pytest.mark.builds
@pytest.mark.parametrize("family", REPOSITORIES)
def test_a_family_goes_through_the_build(family: str, prepared: Project, address: str, tmp_path: Path) -> None:
    """From the Hub to an exported folder, in which transformers alone finds what the build has measured."""
    own = written(tmp_path / "served", family)
    MODEL.clear()
    MODEL.update({path.name: path.read_bytes() for path in (tmp_path / "served").iterdir()})
    project = started(prepared, address, tmp_path)
    models = ["evaluate@cpt-sft", "evaluate@cpt-neftune"]
    project.run("dvc", "repro", "-q", *models)
    if family in MIXTURES:  # as one of them for all: it takes 4 s
        assert not ran(project.run("dvc", "repro", *models))
    project.run("dvc", "repro", "-q", "--single-item", "judges", "judge", "report")
    dtype = ["--dtype", "float32"] if REPOSITORIES[family].dtype != "float32" else []  # else rounded as the base is
    project.run(sys.executable, "-m", "osler", "export", *dtype, "cpt-neftune", str(tmp_path / "exported"))

    has_packed_whole_documents(project.folder, own, family)
    has_trained_all_of_it(project.folder, family)
    reads_as_the_base(tmp_path / "exported", own, family)
    answers_as_built(project.folder, tmp_path / "exported")


def has_packed_whole_documents(folder: Path, own: Any, family: str) -> None:
    """Each between its family's marks, and in none of them a mark."""
    rows = PackedRows.open(folder / "data/packed/clinical/notes")
    width, ends, begin = rows.tokens_RT.shape[1], 0, REPOSITORIES[family].begin
    first = begin and own.convert_tokens_to_ids(begin)
    begun = 0
    for row in range(len(rows.row_ends_R)):
        lengths = rows.segment_lengths(row)
        for part in np.split(rows.tokens_RT[row], np.cumsum(lengths))[: len(lengths)]:
            assert own.eos_token_id not in part[:-1]
            assert part[-1] == own.eos_token_id or len(part) == width  # whole, or a part of a long document
            ends += part[-1] == own.eos_token_id
            begun += first is not None and part[0] == first
            assert first not in part[1:]
    assert ends > 0
    assert (begun > 0) == (first is not None)


def has_trained_all_of_it(folder: Path, family: str) -> None:
    """Each step moves all projections and routers, NEFTune to other places than sft."""
    from transformers import AutoModelForCausalLM

    states = {}
    for name in ("base", "cpt", "cpt-sft", "cpt-neftune"):
        model = AutoModelForCausalLM.from_pretrained(folder / "models" / name, dtype=torch.float32)
        assert model.config.model_type == family
        assert model.config.tie_word_embeddings == REPOSITORIES[family].tied
        states[name] = model.state_dict()
    for before, after in (("base", "cpt"), ("cpt", "cpt-sft"), ("cpt", "cpt-neftune"), ("cpt-sft", "cpt-neftune")):
        assert states[before].keys() == states[after].keys()
        same = [name for name, value in states[before].items() if value.equal(states[after][name])]
        assert not [name for name in same if "gate" in name or "proj" in name or "embed_tokens" in name]
    settings = read_json(folder / "models/cpt-sft/provenance.json")["settings"]
    assert settings["config"]["model_type"] == family
    place = folder / "results/predictions/cpt-sft"
    if family in MIXTURES:
        assert settings["config"]["num_experts_per_tok"] == 2
        assert pl.read_parquet(place / "experts.parquet")["expert"].n_unique() == 4
    losses = [pl.read_csv(folder / f"results/training/cpt-{name}.csv")["loss"].to_list() for name in ("sft", "neftune")]
    assert losses[0] != losses[1]


def reads_as_the_base(exported: Path, own: Any, family: str) -> None:
    """Ids of texts and conversations are those of the Hub's tokenizer; all that ends an answer is named."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exported)
    for text in difficult_texts([REPOSITORIES[family].end]):
        assert tokenizer(text)["input_ids"] == own(text)["input_ids"]
    template = own.chat_template
    if REPOSITORIES[family].begun_by_tokenizer:
        template = BEGIN.format(mark=f'"{own.bos_token}"') + template
    assert tokenizer.chat_template == template
    stops = sorted(
        {*own.convert_tokens_to_ids([*REPOSITORIES[family].stops, REPOSITORIES[family].end]), own.eos_token_id}
    )
    named = read_json(exported / "generation_config.json")["eos_token_id"]
    assert sorted(named if isinstance(named, list) else [named]) == stops


def answers_as_built(folder: Path, exported: Path) -> None:
    """Logits are the built folder's to the bit; options and texts are what transformers itself makes of the exported one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, built = (AutoModelForCausalLM.from_pretrained(place) for place in (exported, folder / "models/cpt-neftune"))
    ids = torch.arange(3, 43)[None]
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, built(ids).logits)
    tokenizer = AutoTokenizer.from_pretrained(exported)
    items = pl.read_parquet(folder / "data/items/synthetic.parquet")
    answers = pl.read_parquet(folder / "results/predictions/cpt-neftune/predictions.parquet")
    assert answers["scores"].explode().is_finite().all()
    assert not answers["truncated"].any()
    scored, wrote = (answers.filter(pl.col("protocol") == name) for name in ("full_answer", "generation"))
    assert scored.height == wrote.height > ASKED
    for answer in scored.sort("item_id").head(ASKED).iter_rows(named=True):
        item = items.row(by_predicate=pl.col("item_id") == answer["item_id"], named=True)
        question = "\n".join(filter(None, [item["context"], item["question"]]))
        expected = likelihoods(model, tokenizer, question, item["options"])
        assert answer["scores"] == pytest.approx(expected, abs=TOLERANCE)
    for answer in wrote.sort("item_id").head(ASKED).iter_rows(named=True):
        item = items.row(by_predicate=pl.col("item_id") == answer["item_id"], named=True)
        listed = [f"{letter}. {option}" for letter, option in zip("ABCDEFGH", item["options"], strict=False)]
        question = "\n".join(filter(None, [item["context"], item["question"], *listed]))
        assert (answer["texts"], answer["generated_tokens"]) == greedy(model, tokenizer, question)


def likelihoods(model: Any, tokenizer: Any, question: str, options: Sequence[str]) -> list[float]:
    """Log-likelihoods of a conversation's answers in nats, by transformers alone.

    Of an answer count the tokens that not all share with the prompt, up to the mark that ends it.
    """
    asked = [{"role": "user", "content": question}]
    shape = {"tokenize": True, "return_dict": False}
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, **shape)
    rows = []
    for option in options:
        whole = [*asked, {"role": "assistant", "content": option}]
        text = tokenizer.apply_chat_template(whole, tokenize=False)
        row = tokenizer.apply_chat_template(whole, **shape)
        found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        assert found["input_ids"] == row
        end = text.rindex(option) + len(option)
        rows.append([token for token, (_, last) in zip(row, found["offset_mapping"], strict=True) if last <= end])
    start = min(next(place for place, token in enumerate([*prompt, None]) if row[place] != token) for row in rows)
    sums = []
    for row in rows:
        with torch.inference_mode():
            table = model(torch.tensor([row])).logits[0].float().log_softmax(-1)
        sums.append(sum(float(table[place - 1, row[place]]) for place in range(start, len(row))))
    return sums


def greedy(model: Any, tokenizer: Any, question: str) -> tuple[list[str], int]:
    """What transformers writes as an answer, up to what generation_config.json has as ends, and how many tokens it is."""
    asked = [{"role": "user", "content": question}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        made = model.generate(**ids, max_new_tokens=LIMIT, do_sample=False)[0, ids["input_ids"].shape[1] :]
    return [str(tokenizer.decode(made, skip_special_tokens=True)).strip()], len(made)
