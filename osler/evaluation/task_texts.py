"""What a model writes for the items of a generative task.

It writes greedily unless the task has a temperature, so that no seed changes it.

Apart from its scores (osler/evaluation/task_predictions.py), since texts are the costly part: only an edit of this file, or of
what it imports, has them written again.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from osler.build.section import EACH_ONCE, BuildError, Section, absent
from osler.evaluation.rubrics import TURNS
from osler.evaluation.text_metrics import normalized
from osler.inference.interface import Model, Prompt, Sampling, seeded_rank

WRITTEN = pl.Schema(
    {
        "text": pl.String,
        "source_tokens": pl.Int64,  # of the whole prompt
        "generated_tokens": pl.Int64,
        "truncated": pl.Boolean,  # the prompt lost its left end to fit the model
    }
)
SHOWN_WORDS = 13
"""A target of as many words is not shown to the item that asks for it, as none is left in the corpus."""


class Writing(Section):
    """How items are asked, where not in one turn and greedily."""

    shots: int | None = absent(
        "solved items of the split dev before the one asked, drawn by the seed; null: none", ge=1, le=1000
    )
    prompt: Literal["chat", "plain"] | None = absent(
        "turns of a chat, or one plain text for models without; null: chat"
    )
    stop: Annotated[list[Annotated[str, Field(min_length=1)]] | None, EACH_ONCE] = absent(
        "a text ends before the first of these; null: at the model's end token alone", min_length=1
    )
    temperature: float | None = absent(
        "divides the logits of tokens that are drawn; null: the likeliest", ge=0.01, le=10
    )
    top_p: float | None = absent(
        "drawn are the likeliest tokens that have this probability together; null: all", gt=0, le=1
    )

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        if self.top_p is not None and self.temperature is None:
            raise ValueError("`top_p` is for texts that are drawn; set a `temperature`")
        return self

    @property
    def writing(self) -> dict[str, Any]:
        """The keys of this section that are on."""
        return self.model_dump(include=set(Writing.model_fields))


def asked_turn(instruction: str, source: str) -> str:
    """The one turn of a prompt.

    It is the instruction, a blank line and the source, or the source alone.
    """
    return "\n\n".join(filter(None, (instruction, source)))


def plain_text(instruction: str, shots: Sequence[Mapping[str, str]], source: str) -> str:
    """A prompt without a chat: the instruction once, then inputs and outputs."""
    solved = [f"Input:\n{shot['source']}\n\nOutput:\n{shot['target']}" for shot in shots]
    return "\n\n".join([*filter(None, (instruction,)), *solved, f"Input:\n{source}\n\nOutput:\n"])


def shots_of(item: Mapping[str, str], pool: Sequence[Mapping[str, str]], shots: int) -> list[Mapping[str, str]]:
    """The first `shots` rows of `pool` that an item may be shown.

    None is of its group, has its words as source, or holds its target where that has at least SHOWN_WORDS words.

    Args:
        item: item_id, group, source, target.
        pool: the same of other rows, in the order in which they are taken.
        shots: how many.
    Raises:
        BuildError: there are fewer.
    """
    source, target = (f" {normalized(item[name])} " for name in ("source", "target"))
    long = len(target.split()) >= SHOWN_WORDS
    chosen: list[Mapping[str, str]] = []
    for row in pool:
        words = f" {normalized(row['source'])} "
        told = long and (target in words or target in f" {normalized(row['target'])} ")
        if row["group"] != item["group"] and words != source and not told:
            chosen.append(row)
        if len(chosen) == shots:
            return chosen
    raise BuildError(
        f"{item['item_id']}: {len(chosen)} rows of the split dev may be shown before it, not {shots}; lower the task's"
        " `shots`, or give it more rows of the split dev"
    )


def prompts_of(rows: pl.DataFrame, writing: Writing | None, pool: pl.DataFrame | None, seed: int) -> list[Prompt]:
    """The prompt of each row.

    All rows are shown the same rows of the pool as far as they may be, whose tokens are read once then.

    Args:
        rows: instruction ("" for none), source, or TURNS in its place; with shots also item_id, group, target.
        writing: how they are asked; None: in one turn.
        pool: rows of the split dev.
        seed: that draws from them.
    Raises:
        BuildError: see `shots_of`.
    """
    shots = writing.shots if writing else None
    drawn: list[dict[str, str]] = []
    if shots and pool is not None:
        drawn = sorted(pool.to_dicts(), key=lambda row: (seeded_rank(seed, "shots", row["item_id"]), row["item_id"]))
    found = []
    for row in rows.iter_rows(named=True):
        shown = shots_of(row, drawn, shots) if shots else []
        if writing and writing.prompt == "plain":
            text = plain_text(row["instruction"], shown, row["source"])
            found.append(Prompt((("user", text),), (), is_plain=True))
            continue
        solved = [
            turn
            for shot in shown
            for turn in (("user", asked_turn(shot["instruction"], shot["source"])), ("assistant", shot["target"]))
        ]
        if row.get(TURNS):
            said = [(turn["role"], turn["content"]) for turn in row[TURNS]]
            found.append(Prompt((("user", asked_turn(row["instruction"], said[0][1])), *said[1:]), ()))
            continue
        found.append(Prompt((*solved, ("user", asked_turn(row["instruction"], row["source"]))), ()))
    return found


def stopped(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first place where one of `stop` stands."""
    return text[: min((place for end in stop if (place := text.find(end)) >= 0), default=len(text))]


def written(
    model: Model,
    rows: pl.DataFrame,
    limit_tokens: int,
    writing: Writing | None = None,
    pool: pl.DataFrame | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """A row of WRITTEN for each of `rows`, in order.

    What is generated behind a stop string is counted, since it was paid for.

    Args:
        model: that writes.
        rows, writing, pool: see `prompts_of`; with a temperature, rows need item_id.
        limit_tokens: of a text.
        seed: of shots and of drawn tokens, which depend on it and the item alone.
    """
    prompts = prompts_of(rows, writing, pool, seed)
    sampling, seeds = Sampling(limit_tokens, temperature=0.0), [0] * len(prompts)
    if writing and writing.temperature:
        sampling = Sampling(limit_tokens, writing.temperature, writing.top_p or 1.0)
        seeds = [seeded_rank(seed, "task", item_id) for item_id in rows["item_id"]]
    ends = (writing.stop if writing else None) or ()
    texts = model.texts(prompts, sampling, seeds)
    found = [
        (stopped(text.text.strip(), ends).strip(), text.prompt_tokens, text.tokens, text.truncated) for text in texts
    ]
    return pl.DataFrame(found, schema=WRITTEN, orient="row")
