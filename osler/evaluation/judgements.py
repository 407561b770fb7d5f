"""Judgements: what a judge says of texts that the build's models wrote for generative tasks.

Each is asked once. Its id is everything that it depends on: which judge, how it is read, the prompt as it is sent. What
stands below scratch/, also of a run that was stopped, is not asked again: a model more, or another criterion, costs what is
new. Rows in = rows out: a verdict that could not be read is a row without one.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from osler.build.progress import progress
from osler.build.section import BuildError
from osler.build.shard_store import content_key
from osler.evaluation.judges import Judge
from osler.evaluation.rubrics import CRITERIA
from osler.evaluation.task_texts import asked_turn
from osler.evaluation.verdicts import Kind, judge_prompt, likelier, verdict_of
from osler.inference.interface import Model, Prompt, Sampling, Written, seeded_rank

if TYPE_CHECKING:
    from osler.inference.served_model import ServedModel

AT_ONCE = 64  # prompts of a local judge between two notes of what it said
JUDGEMENTS = pl.Schema(
    {
        "judge": pl.String(),
        "kind": pl.String(),  # rubric or preference
        "task": pl.String(),
        "item_id": pl.String(),
        "group": pl.String(),
        "seed": pl.Int64(),
        "model": pl.String(),
        "other": pl.String(),  # preference: the second of the pair
        "turned": pl.Boolean(),  # preference: its text was shown first
        "criterion": pl.Int64(),  # rubric: its place among the item's
        "points": pl.Float64(),
        "tags": pl.List(pl.String),
        "key": pl.String(),  # of what was judged, whoever judges: ratings of people name it
        "verdict": pl.String(),  # one of VERDICTS, null where none could be read
        "probability": pl.Float64(),  # reading likelihood: of the verdict
        "id": pl.String(),
        "text": pl.String(),  # that the judge wrote
        "answered_by": pl.String(),  # the model, as an address tells it
        "prompt_tokens": pl.Int64(),
        "tokens": pl.Int64(),  # that the judge wrote
        "truncated": pl.Boolean(),  # it did not read the whole, and is not heard
    }
)
SAME = "same"
"""Of two equal texts none is asked about: neither is better."""


@dataclass(frozen=True)
class Said:
    """What a judge answered to one prompt.

    `sums` and `option_tokens` are empty where it wrote a text.
    """

    text: str
    sums: tuple[float, ...]
    option_tokens: tuple[int, ...]
    answered_by: str | None
    prompt_tokens: int
    tokens: int
    truncated: bool


@dataclass(frozen=True)
class Request:
    """One thing to judge: columns of JUDGEMENTS, and the prompt.

    The prompt is None for two equal texts.
    """

    columns: Mapping[str, Any]
    prompt: Prompt | None

    @property
    def kind(self) -> Kind:
        """Rubric or preference."""
        kind: Kind = self.columns["kind"]
        return kind


def judged_key(kind: Kind, source: str, texts: Sequence[str], criterion: str = "") -> str:
    """Names what is judged, whoever judges it: hexadecimal."""
    content = json.dumps([kind, source, list(texts), criterion], ensure_ascii=False)
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


def requests_of(name: str, judge: Judge, items: Mapping[str, pl.DataFrame], written: pl.DataFrame) -> list[Request]:
    """All that one judge is asked, in order.

    Args:
        name: of the judge.
        judge: its section.
        items: of each task, by item_id: instruction, source, and CRITERIA where it has them.
        written: rows of GENERATIONS of all models.
    Raises:
        BuildError: there is nothing to judge in one of its tasks, or a model of a pair has no texts.
    """
    found: list[Request] = []
    for task in judge.tasks:
        rows = written.filter(pl.col("task") == task)
        ranked = sorted(rows["item_id"].unique(), key=lambda item_id: (seeded_rank(0, "judge", item_id), item_id))
        rows = rows.filter(pl.col("item_id").is_in(ranked[: judge.limit_items])).sort("item_id", "seed", "model")
        before = len(found)
        asked = {item["item_id"]: item for item in items[task].iter_rows(named=True)}
        if CRITERIA in items[task].columns:
            found += _criteria_requests(name, judge, asked, rows)
        for pair in judge.pairs or ():
            found += _pair_requests(name, judge, asked, rows, pair)
        if len(found) == before:
            raise BuildError(
                f"params.yaml: judge.{name}.tasks: {task}: nothing to judge; give it `criteria`, or the judge `pairs`, of models"
                f" that are evaluated: {', '.join(sorted(rows['model'].unique())) or 'none wrote for it'}"
            )
    return found


def _common(name: str, kind: Kind, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"judge": name, "kind": kind, **{key: row[key] for key in ("task", "item_id", "group", "seed", "model")}}


def _criteria_requests(
    name: str, judge: Judge, asked: Mapping[str, Mapping[str, Any]], rows: pl.DataFrame
) -> Iterator[Request]:
    """Each text of the judge's models against each criterion of its item."""
    for row in rows.iter_rows(named=True):
        if judge.models is not None and row["model"] not in judge.models:
            continue
        item = asked[row["item_id"]]
        source = asked_turn(item["instruction"], item["source"])
        for place, criterion in enumerate(item[CRITERIA]):
            columns = _common(name, "rubric", row) | {"criterion": place, "points": criterion["points"]}
            wording = criterion["criterion"]
            columns |= {"tags": criterion["tags"], "key": judged_key("rubric", source, [row["text"]], wording)}
            yield Request(columns, judge_prompt("rubric", judge.reading, source, [row["text"]], wording))


def _pair_requests(
    name: str, judge: Judge, asked: Mapping[str, Mapping[str, Any]], rows: pl.DataFrame, pair: tuple[str, str]
) -> Iterator[Request]:
    """The texts of two models for each item, in both orders."""
    texts = {(row["item_id"], row["seed"], row["model"]): row for row in rows.iter_rows(named=True)}
    if lacking := [model for model in pair if model not in set(rows["model"])]:
        raise BuildError(
            f"params.yaml: judge.{name}.pairs: {lacking[0]}: has written nothing; name a model that is evaluated"
        )
    for item_id, seed, model in texts:
        if model != pair[0] or (item_id, seed, pair[1]) not in texts:
            continue
        ours, theirs = texts[item_id, seed, pair[0]], texts[item_id, seed, pair[1]]
        source = asked_turn(asked[item_id]["instruction"], asked[item_id]["source"])
        for turned in (False, True):
            shown = [theirs["text"], ours["text"]] if turned else [ours["text"], theirs["text"]]
            columns = _common(name, "preference", ours) | {"other": pair[1], "turned": turned}
            columns |= {"key": judged_key("preference", source, shown)}
            is_same = shown[0] == shown[1]
            yield Request(columns, None if is_same else judge_prompt("preference", judge.reading, source, shown))


def request_id(identity: Mapping[str, Any], prompt: Prompt) -> str:
    """Everything that an answer depends on, hashed."""
    return content_key(judge=dict(identity), turns=prompt.turns, options=prompt.options)


class Known:
    """What a judge said already: a file that grows.

    Args:
        notes: a line of JSON for each answer, kept as it comes; made where it is not there.
    """

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._said: dict[str, Said] = {}
        text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
        self._begins_with = "" if text.endswith("\n") or not text else "\n"  # else the next line would go on a half one
        for line in text.split("\n"):
            try:
                row = json.loads(line)
                self._said[row.pop("id")] = _said_of(row)
            except (ValueError, TypeError, AttributeError, KeyError):
                continue  # a run was killed while it wrote this line: what it was about is asked again

    def get(self, name: str) -> Said | None:
        """What was said under an id."""
        return self._said.get(name)

    def keep(self, answers: Mapping[str, Said]) -> None:
        """Note answers, so that they stay if what follows fails."""
        self._said |= answers
        self._notes.parent.mkdir(parents=True, exist_ok=True)
        with self._notes.open("a", encoding="utf-8") as stream:
            stream.write(self._begins_with)
            self._begins_with = ""
            stream.writelines(json.dumps({"id": name, **asdict(said)}) + "\n" for name, said in answers.items())


def _said_of(row: Mapping[str, Any]) -> Said:
    values = {name: row[name] for name in Said.__dataclass_fields__}
    return Said(**values | {"sums": tuple(values["sums"] or ()), "option_tokens": tuple(values["option_tokens"] or ())})


def ask_local(
    model: Model, wanted: Mapping[str, Prompt], judge: Judge, keep: Callable[[Mapping[str, Said]], None]
) -> None:
    """Ask a judge that runs here, some prompts at a time.

    Args:
        model: the judge.
        wanted: prompts by id.
        judge: its section.
        keep: gets answers as they come.
    """
    ids = list(wanted)
    parts = [ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE)]
    for part in progress(parts, len(parts), "judging", f"parts of {AT_ONCE}"):
        prompts = [wanted[name] for name in part]
        if judge.reading == "likelihood":
            found = [
                Said("", each.sums, each.tokens, None, each.prompt_tokens, 0, each.truncated)
                for each in model.likelihoods(prompts)
            ]
        else:
            texts = model.texts(prompts, Sampling(judge.limit_tokens, temperature=0.0), [0] * len(prompts))
            found = [Said(one.text, (), (), None, one.prompt_tokens, one.tokens, one.truncated) for one in texts]
        keep(dict(zip(part, found, strict=True)))


def ask_served(
    model: "ServedModel", wanted: Mapping[str, Prompt], judge: Judge, keep: Callable[[Mapping[str, Said]], None]
) -> None:
    """Ask a judge behind an address.

    Each answer is kept as it comes.

    Args:
        model: the judge.
        wanted, judge, keep: see `ask_local`.
    Raises:
        BuildError: see `ServedModel.texts`.
    """
    ids, bar = list(wanted), iter(progress(range(len(wanted)), len(wanted), "judging", "answers"))

    def heard(place: int, one: Written, answered_by: str) -> None:
        keep({ids[place]: Said(one.text, (), (), answered_by, one.prompt_tokens, one.tokens, one.truncated)})
        next(bar, None)

    sampling = Sampling(judge.limit_tokens, temperature=0.0)
    model.texts([wanted[name] for name in ids], sampling, [0] * len(ids), heard)
    next(bar, None)


def frame_of(requests: Sequence[Request], ids: Sequence[str | None], known: Known) -> pl.DataFrame:
    """The artifact, a row for each request, in order.

    Its columns are JUDGEMENTS, `sums` and `option_tokens`.
    """
    rows = []
    for request, name in zip(requests, ids, strict=True):
        said = known.get(name) if name is not None else None
        found: dict[str, Any] = {"id": name, "verdict": SAME if name is None else None, "probability": None}
        if said is not None:
            found |= asdict(said)
            if said.truncated:
                pass  # not the whole was read
            elif said.sums:
                found["verdict"], found["probability"] = likelier(request.kind, said.sums, said.option_tokens)
            else:
                found["verdict"] = verdict_of(request.kind, said.text)
        rows.append({**request.columns, **found})
    return pl.DataFrame(rows, schema={**JUDGEMENTS, "sums": pl.List(pl.Float64), "option_tokens": pl.List(pl.Int64)})
