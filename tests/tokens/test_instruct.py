"""Fine-tuning rows: what is learned of three conversations.

Counted by hand, with a tokenizer whose tokens are words.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from osler.build.section import BuildError
from osler.ingest.messages import message_turns
from osler.tokens.conversations import rendered, tokenized
from osler.tokens.instructions import fitted, write_instructions
from osler.tokens.shards import PackedRows, token_dtype
from stages import instruct
from stages.instruct import Instruct
from tests.support.tiny import TEMPLATE

WORDS = "Question: Answer: be brief what treats moon itch ? fern tea and honey wrap once system user assistant".split()  # noqa: SIM905 - shorter to read than a list
CHATML = (
    "{% for m in messages %}<|im_start|> {{ m['role'] }} {{ m['content'] }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
)

# By hand, with TEMPLATE: <s> Question: ... Answer: ... </s>
MANY_TURNS = [("what treats moon itch ?", "user"), ("fern tea", "assistant"), ("and honey wrap ?", "user")]
MANY_TURNS += [("once", "assistant")]  # 1 + (1 + 5 + 1 + 2 + 1) + (1 + 4 + 1 + 1 + 1) = 19, learned 3 + 2
SYSTEM = [("be brief", "system"), ("what treats moon itch ?", "user"), ("honey", "assistant")]  # 1 + 1+7+1+1+1 = 12, 2
LONG = [("what ?", "user"), ("tea " * 20, "assistant")]  # 1 + 1 + 2 + 1 + 20 + 1 = 26, learned 21


def word_tokenizer(bos: str | None = "<s>") -> Any:
    """A token for each of WORDS."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate([*special, *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(special)
    if bos:
        words.post_processor = processors.TemplateProcessing(f"{bos} $A", None, [(bos, words.token_to_id(bos))])
    marks = {"bos_token": bos} if bos else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>", **marks)
    tokenizer.add_special_tokens({"additional_special_tokens": special[3:]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def turns(messages: list[tuple[str, str]]) -> list[dict[str, str]]:
    """As `ingest` writes them.

    It puts a system message before the first question.
    """
    found = message_turns([{"role": role, "content": content} for content, role in messages], "m")
    assert isinstance(found, list)
    return [{"role": role, "content": content} for role, content in found]


def conversations() -> pl.DataFrame:
    rows = [("a", f"a/{n}", "MIT", turns(messages)) for n, messages in enumerate((MANY_TURNS, SYSTEM, LONG))]
    return pl.DataFrame(rows, schema=["source", "doc_id", "license", "turns"], orient="row")


def test_tokens_and_learned_tokens_by_hand() -> None:
    """19 with 5 learned, 12 with 2, 26 with 21.

    A row of 20 drops the third, or cuts it to 20 with 15 learned.
    """
    dropped, ledger = fitted(word_tokenizer(), conversations(), 20, "drop", "instruct")
    assert [(len(c.ids), int(c.learned.sum())) for c in dropped] == [(19, 5), (12, 2)]
    assert [(row["doc_id"], row["reason"], row["detail"]) for row in ledger] == [
        ("a/2", "too_long", "26 tokens in rows of 20")
    ]
    cut, ledger = fitted(word_tokenizer(), conversations(), 20, "cut", "instruct")
    assert [(len(c.ids), int(c.learned.sum())) for c in cut] == [(19, 5), (12, 2), (20, 15)]
    assert [row["reason"] for row in ledger] == ["cut"]
    whole, ledger = fitted(word_tokenizer(), conversations(), 26, "drop", "instruct")
    assert [int(c.learned.sum()) for c in whole] == [5, 2, 21]
    assert ledger == []


def test_a_conversation_cut_before_its_answer_is_dropped() -> None:
    """Of a row of 5 nothing would be learned.

    <s> Question: what ? Answer:.
    """
    found, ledger = fitted(word_tokenizer(), conversations()[2:], 5, "cut", "instruct")
    assert found == []
    assert ledger[0]["reason"] == "too_long"
    assert len(fitted(word_tokenizer(), conversations()[2:], 6, "cut", "instruct")[0]) == 1


def test_a_template_with_a_system_role_learns_answers_alone() -> None:
    """<|im_start|> assistant is asked, the words and <|im_end|> are learned.

    The system's and the user's words are not.
    """
    tokenizer = word_tokenizer()
    tokenizer.chat_template = CHATML
    system = [{"role": role, "content": content} for content, role in SYSTEM]
    ids, learned = tokenized(tokenizer, system)
    assert tokenizer.convert_ids_to_tokens(ids[learned]) == ["honey", "<|im_end|>"]
    assert len(ids) == 1 + 5 + 8 + 4


@pytest.mark.parametrize("bos", ["<s>", None])
def test_the_begin_mark_is_written_once_if_the_tokenizer_has_one(bos: str | None) -> None:
    """Written by us only where the template does not.

    Not at all for a tokenizer without one.
    """
    tokenizer = word_tokenizer(bos)
    own, _ = tokenized(tokenizer, turns(SYSTEM))
    tokenizer.chat_template = ("{{ bos_token }}" if bos else "") + TEMPLATE
    with_template, learned = tokenized(tokenizer, turns(SYSTEM))
    assert own.tolist() == with_template.tolist()
    assert (tokenizer.convert_ids_to_tokens(own).count("<s>"), len(own)) == ((1, 12) if bos else (0, 11))
    assert int(learned.sum()) == 2


def test_a_template_that_cannot_teach_is_refused() -> None:
    """Nothing ends its answers."""
    tokenizer = word_tokenizer()
    tokenizer.chat_template = TEMPLATE.replace("{{ eos_token }}", "")
    with pytest.raises(BuildError, match="params.yaml: chat_template: no end mark"):
        rendered(tokenizer, turns(SYSTEM))


def settings(**changes: Any) -> Instruct:
    values: dict[str, Any] = {
        "weights": {"a": 2.0, "b": 1.0},
        "conversations": 6,
        "seed": 1,
        "overlong": "drop",
        "benchmark_training_splits": {},
    }
    return Instruct(**values | changes)


def build(folder: Path, **changes: Any) -> dict[str, Any]:
    """Run the stage in rows of 20 on sources a and b.

    a: the three conversations, twice; b: the second one, three times.
    """
    for source, frame in (("a", pl.concat([conversations()] * 2)), ("b", pl.concat([conversations()[1:2]] * 3))):
        numbered = frame.with_row_index().with_columns(pl.format("{}/{}", pl.lit(source), "index").alias("doc_id"))
        (folder / "documents" / source).mkdir(parents=True)
        numbered.drop("index", "source").write_parquet(folder / "documents" / source / "part-00000.parquet")
        (folder / "keep").mkdir(exist_ok=True)
        numbered.select("doc_id").write_parquet(folder / "keep" / f"{source}.parquet")
    tokenizer = word_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "template").write_text(TEMPLATE)
    paths = {name: folder / name for name in ("documents", "keep", "template", "tokenizer", "instructions")}
    files = {"ledger": folder / "ledger.parquet", "conversations": folder / "conversations.json"}
    instruct.main(**paths, **files, instruct=settings(**changes), sequence_length_tokens=20)
    found: dict[str, Any] = json.loads(files["conversations"].read_text())
    return found


def test_rows_hold_conversations_whole_and_metrics_count_them(tmp_path: Path) -> None:
    """Weights draw 4 of a's 6 and 2 of b's 3.

    What is drawn, dropped or left out adds up, and every row is one segment.
    """
    metrics = build(tmp_path)
    ours, theirs = metrics["sources"]
    assert (ours["source"], ours["share_asked"], theirs["share_asked"]) == ("a", 0.666667, 0.333333)
    assert ours["conversations"] + ours["too_long"] == 4
    assert ours["not_drawn"] == 2
    assert (theirs["conversations"], theirs["not_drawn"], theirs["tokens"], theirs["learned_tokens"]) == (2, 1, 24, 4)
    assert ours["share"] == round(ours["conversations"] / (ours["conversations"] + 2), 6)
    rows = PackedRows.open(tmp_path / "instructions")
    assert metrics["rows"] == metrics["conversations"] == len(rows.lengths_S) == ours["conversations"] + 2
    assert set(rows.lengths_S.tolist()) <= {19, 12}  # no two fit a row of 20
    assert rows.labels_RT is not None
    for row in range(metrics["rows"]):
        (length,) = rows.segment_lengths(row)
        assert int(rows.labels_RT[row].sum()) == {19: 5, 12: 2}[length]
        assert not rows.labels_RT[row][length:].any()
    assert rows.tokens_by_origin().sum(0).tolist() == [ours["tokens"], theirs["tokens"]]
    assert len(pl.read_parquet(tmp_path / "ledger.parquet")) == ours["too_long"] + 3
    assert metrics["fill_fraction"] == round(metrics["tokens"] / (20 * metrics["rows"]), 6)


def test_a_training_split_must_be_a_source_that_is_read(tmp_path: Path) -> None:
    """A name that is no source of instruct.weights is a slip.

    A source that is named is marked in the metrics.
    """
    with pytest.raises(BuildError, match=r"instruct.benchmark_training_splits: medqa: not in instruct.weights"):
        build(tmp_path / "wrong", benchmark_training_splits={"medqa": "medqa"})
    metrics = build(tmp_path / "right", benchmark_training_splits={"b": "medqa"})
    assert [entry["benchmark_training_split"] for entry in metrics["sources"]] == [None, "medqa"]


def test_more_conversations_than_are_kept_are_refused(tmp_path: Path) -> None:
    """None is repeated to reach a share."""
    with pytest.raises(BuildError, match=r"instruct.weights.b: its share is 4 conversations and 3 are kept"):
        build(tmp_path, conversations=8, weights={"a": 1.0, "b": 1.0})


def test_one_seed_draws_the_same(tmp_path: Path) -> None:
    """The bytes of the rows are a function of the seed."""
    build(tmp_path / "one")
    build(tmp_path / "two")
    for path in sorted((tmp_path / "one/instructions").glob("*.npy")):
        assert np.array_equal(np.load(path), np.load(tmp_path / "two/instructions" / path.name)), path


def test_an_answer_that_is_context_has_no_loss_and_is_counted(tmp_path: Path) -> None:
    """Of two answers one has weight 0: its tokens are read and no label, and the loss is that of the other's alone."""
    import torch

    from osler.training.batches import IGNORED, batch_of
    from osler.training.packed_loss import PackedLoss
    from tests.support.tiny import tiny_model

    messages = [{"role": role, "content": content} for content, role in MANY_TURNS]
    messages[1]["weight"] = 0  # type: ignore[assignment]
    found = message_turns(messages, "m")
    assert isinstance(found, list)
    both = [turns(MANY_TURNS), [{"role": role, "content": content} for role, content in found]]
    tokenizer, losses = word_tokenizer(), list[tuple[float, int]]()
    for each in both:
        rows = [("a", "a/0", "MIT", each)]
        frame = pl.DataFrame(rows, schema=["source", "doc_id", "license", "turns"], orient="row")
        conversations, _ = fitted(tokenizer, frame, 20, "drop", "instruct")
        folder = tmp_path / str(len(losses))
        write_instructions(folder, conversations, 20, token_dtype(tokenizer), 1)
        (counted,) = instruct.counts_per_source(settings(weights={"a": 1.0}), conversations, [])
        batch = batch_of([(PackedRows.open(folder), 0)])
        with torch.no_grad():
            loss = PackedLoss(tiny_model(len(tokenizer)))(
                batch.tokens_BT, batch.positions_BT, batch.labels_BT, batch.kept_BT, None
            )
        losses.append((float(loss[0]), int((batch.labels_BT != IGNORED).sum())))
        told = (counted["answers"], counted["context_answers"], counted["learned_tokens"])
        assert told == ((2, 0, 5) if folder.name == "0" else (2, 1, 2))
        if folder.name == "1":
            labels = batch.labels_BT[batch.labels_BT != IGNORED]
            assert tokenizer.convert_ids_to_tokens(labels.tolist()) == ["once", "</s>"]
    assert [count for _, count in losses] == [5, 2]
    assert 0 < losses[1][0] < losses[0][0]
