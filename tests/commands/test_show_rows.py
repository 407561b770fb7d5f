"""`osler show rows`, on rows that the stage `instruct` writes here; on a whole build it is in test_dag.py."""

from pathlib import Path

import polars as pl
import pytest

from osler.build.artifacts import Artifacts
from osler.build.pipeline import Declaration
from osler.build.section import BuildError
from osler.commands.show_rows import bracketed, shown
from osler.ingest.messages import CONTEXT
from stages import instruct
from stages.instruct import Instruct
from tests.support.tiny import TEMPLATE, tiny_tokenizer

OUTS = {
    "ingest@chat": ("data/documents/instructions/chat",),
    "tokenizer": ("models/tokenizer",),
    "instruct": ("data/instructions", "data/ledger/instruct.parquet"),
}
TALKS = {
    "chat/short": [("user", "What treats the moon itch?"), ("assistant", "fern tea")],
    "chat/context": [("user", "And it?"), (CONTEXT, "once"), ("user", "And the honey wrap?"), ("assistant", "twice")],
    "chat/long": [("user", "Why?"), ("assistant", "fern tea " * 60)],
    "chat/longer": [("user", "moon itch " * 100), ("assistant", "fern tea")],
}


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Four conversations, packed in rows of 64 tokens: one is cut and one left out."""
    folder = tmp_path / "data/documents/instructions/chat"
    folder.mkdir(parents=True)
    turns = [[{"role": role, "content": text} for role, text in talk] for talk in TALKS.values()]
    pl.DataFrame({"doc_id": list(TALKS), "license": ["CC0-1.0"] * 4, "turns": turns}).write_parquet(
        folder / "part-0.parquet"
    )
    (tmp_path / "keep").mkdir()
    (tmp_path / "data/ledger").mkdir()
    pl.DataFrame({"doc_id": list(TALKS)}).write_parquet(tmp_path / "keep/chat.parquet")
    (tmp_path / "template.jinja").write_text(TEMPLATE)
    tiny_tokenizer().save_pretrained(tmp_path / "models/tokenizer")
    section = Instruct(weights={"chat": 1.0}, conversations=None, seed=1, overlong="cut", benchmark_training_splits={})
    instruct.main(
        documents=folder.parent, keep=tmp_path / "keep", template=tmp_path / "template.jinja",
        tokenizer=tmp_path / "models/tokenizer", instructions=tmp_path / "data/instructions",
        ledger=tmp_path / "data/ledger/instruct.parquet", conversations=tmp_path / "conversations.json",
        instruct=section, sequence_length_tokens=64,
    )  # fmt: skip
    return Artifacts(tmp_path, {name: Declaration(name, (), outs, {}) for name, outs in OUTS.items()})


def test_what_is_learned_stands_in_brackets(artifacts: Artifacts) -> None:
    """With its end mark, but not of a conversation that was cut; an answer that is context has none."""
    lines = list(shown(artifacts, "chat", 9))
    texts = dict(zip((line.split()[1].rstrip(",") for line in lines[:-1:2]), lines[1::2], strict=True))
    heads = {line.split()[1].rstrip(","): line for line in lines[:-1:2]}
    assert texts["chat/short"] == "<s>Question: What treats the moon itch?\nAnswer:⟦ fern tea</s>⟧"
    assert "Answer: once</s>Question: And the honey wrap?\nAnswer:⟦ twice</s>⟧" in texts["chat/context"]
    assert "end mark learned" in heads["chat/short"]
    assert "64 tokens" in heads["chat/long"]
    assert "no end mark" in heads["chat/long"]
    assert set(texts) == {"chat/short", "chat/context", "chat/long"}
    assert lines[-1].endswith("of 4 conversations 25.0% are cut and 25.0% left out, since they are longer than a row")
    assert len(list(shown(artifacts, "chat", 1))) == 3


def test_a_source_that_is_not_there_is_an_error(artifacts: Artifacts) -> None:
    """One that is unknown, and one that is not built."""
    with pytest.raises(BuildError, match="nothing: no such source or exercise; they are chat"):
        list(shown(artifacts, "nothing", 1))
    (artifacts.root / "data/instructions/manifest.json").unlink()
    for file in (artifacts.root / "data/instructions").iterdir():
        file.unlink()
    (artifacts.root / "data/instructions").rmdir()
    with pytest.raises(BuildError, match="run `dvc repro instruct`"):
        list(shown(artifacts, "chat", 1))


def test_runs_of_learned_tokens_are_bracketed() -> None:
    """Each run once."""
    tokenizer = tiny_tokenizer()
    ids = tokenizer("fern tea once", add_special_tokens=False)["input_ids"]
    pieces = [tokenizer.decode([one]) for one in ids]
    learned = [place % 2 == 0 for place in range(len(ids))]
    expected = "".join(f"⟦{piece}⟧" if known else piece for piece, known in zip(pieces, learned, strict=True))
    assert bracketed(tokenizer, ids, learned) == expected
    assert bracketed(tokenizer, ids, [True] * len(ids)) == "⟦fern tea once⟧"
