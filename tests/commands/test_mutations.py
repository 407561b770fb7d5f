"""What the check says of a thousand mutated params: a refusal in one line, or a reason why the value may be.

`python -m tests.commands.test_mutations 1000 2` prints what it says of each.
"""

import math
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.commands.check import check
from tests.support.mutations import MISSING, Mutation, mutations
from tests.support.params import profile_params
from tests.support.project import copied

PROFILES = ("default", "micro", "mixtral-tiny")  # whose data the build makes; the others' are not here
DAILY, THOROUGH = 150, 1000
NAMES = "source|task|benchmark"


class Accepted(NamedTuple):
    """Values that may be, and why.

    Attributes:
        places: keys, as a regular expression.
        may_be: the value there; MISSING where the key is gone.
        why: what becomes of it.
    """

    places: str
    may_be: Callable[[Any], bool]
    why: str


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _off(value: Any) -> bool:
    return value is None or value is MISSING


REASONS = (
    Accepted(
        rf"({NAMES})\.\w+\.format",
        lambda value: value == "json",
        "another format: its files are looked for by their endings where they are there, and these are still to be made",
    ),
    Accepted(
        r"source\.\w+\.(id|license_field|turns_field)|task\.\w+\.(id|group)",
        lambda value: _text(value) or _off(value),
        "which fields there are, the files know: `ingest` and `tasks` stop in their first seconds where no row has one",
    ),
    Accepted(
        r"(source|task)\.\w+\.(text|source|target|separator|license|instruction)|evaluate\.generation_instruction"
        r"|strategies\.\w+\.(instruction|answer_lead|expand|guess|refine)|chat_template",
        _text,
        "any wording is the user's; templates are parsed, and the template of a conversation is tried elsewhere",
    ),
    Accepted(
        r"source\.\w+\.split", lambda value: _text(value) or _off(value), "a file that splits elsewhere, or nowhere"
    ),
    Accepted(
        r"seeds(\.\d)?|synthesize\.\w+\.\w+|audit\.\w+|screen\.\w+|overlap\.\w+|quality\.m\w+|quality\.f\w+|select\.[^p]\w+"
        r"|tokenizer\.\w+|pack\.(seed|sequence_length_tokens)|numerics\.threads|architecture(\.experts)?\.\w+"
        r"|pretrain\.\w+(\.betas|\.weights)?\.\w+|(mix|cpt|sft|neftune|statistics)(\.betas|\.weights)?\.\w+"
        r"|instruct\.(weights\.\w+|seed|conversations)|evaluate\.\w+_tokens|launch\.\w+|task\.\w+\.limit_\w+|strategies\.\w+\.\w+",
        _number,
        "any number in the range of its key is the user's choice: a build of another size, or one that learns less",
    ),
    Accepted(r"[\w.]+", lambda value: value is True or value is False, "yes or no"),
    Accepted(
        rf"({NAMES})\.\w+|strategies\.\w+(\.(models|limit_\w+|seeds))?|evaluate\.vllm|encoder\.\w+|pack\.subset|architecture\.experts"
        r"|launch\.(zero_stage|rendezvous|micro_batch_rows)|task\.\w+\.(limit_items|labels|split_field)|instruct\.conversations"
        r"|tokenizer\.(package|file)",
        _off,
        "one of several by a name of one's own, or a key that may be off",
    ),
    Accepted(
        r"seeds\.\d|evaluate\.compared\.\d|strategies\.\w+\.models\.\d|evaluated\.\d|tokenizer\.sources\.\w+"
        r"|(mix|instruct|pretrain\.\w+)\.weights\.\w+",
        lambda value: value is MISSING,
        "one of several in a list or a table",
    ),
    Accepted(
        r"task|judge|download|download_model|trunk|anneal|mix\.epochs|instruct\.benchmark_training_splits|synthesize",
        lambda value: value == {},
        "tables that may be empty",
    ),
    Accepted(r"evaluate\.compared|task\.\w+\.labels", lambda value: value == [], "a list that may be empty"),
    Accepted(r"strategies\.\w+|encoder|strategies", lambda value: value == {}, "every key of it may be off"),
)


def project(folder: Path) -> Path:
    """A folder in which params can be checked."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    for name in ("dvc.yaml", "ratings.csv", "withdrawn.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def originals() -> dict[str, dict[str, Any]]:
    """The params of each profile, by its name."""
    return {name: profile_params(name) for name in PROFILES}


def verdicts(folder: Path, count: int, seed: int) -> Iterator[tuple[Mutation, str | None]]:
    """What `osler check` says of each mutation; None where it accepts it."""
    for mutation in mutations(originals(), count, seed):
        text = yaml.dump(mutation.params, sort_keys=False, allow_unicode=True)
        (folder / "params.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            check(folder)
        except BuildError as error:
            yield mutation, str(error)
        else:
            yield mutation, None


def reason(mutation: Mutation, before: dict[str, Any]) -> str | None:
    """Why a mutation may be accepted; None where nothing says so."""
    if mutation.params == before:
        return "nothing is changed"
    key = ".".join(map(str, mutation.place))
    if mutation.kind in ("renamed", "twin"):  # a name of one's own; what names it elsewhere would be refused
        return "a name of one's own" if re.fullmatch(rf"({NAMES})\.\w+", key) else None
    return next((one.why for one in REASONS if re.fullmatch(one.places, key) and one.may_be(mutation.value)), None)


def survey(folder: Path, count: int, seed: int) -> Counter[str]:
    """How many mutations were refused, and accepted for which reason; asserts that there is one."""
    found: Counter[str] = Counter()
    before = originals()
    for mutation, said in verdicts(project(folder), count, seed):
        shown = f"{mutation.profile}: {'.'.join(map(str, mutation.place))}: {mutation.kind}"
        if said is None:
            why = reason(mutation, before[mutation.profile])
            assert why, f"{shown}: accepted, and no reason says why: {mutation.value!r:.100}"
            found[why] += 1
        else:
            assert "\n" not in said, shown
            assert re.match(r"params.yaml: \S", said), f"{shown}: {said}"
            assert len(said) <= 3000, shown
            found["refused"] += 1
    return found


def test_a_mutation_is_refused_in_one_line_or_accepted_for_a_reason(tmp_path: Path) -> None:
    """No other error; and most are refused."""
    found = survey(tmp_path, DAILY, seed=1)
    assert found.total() == DAILY
    assert found["refused"] > DAILY / 2


@pytest.mark.campaign
def test_a_thousand_mutations(tmp_path: Path) -> None:
    """The same, of other seeds."""
    for why, times in survey(tmp_path, THOROUGH, seed=2).most_common():
        print(f"{times:4} {why}")


@pytest.mark.campaign
def test_accepted_mutations_build(tmp_path: Path) -> None:
    """A handful in the micro profile: each is built, or stopped in one line before anything is trained."""
    accepted = [
        mutation
        for mutation, said in verdicts(project(tmp_path / "checked"), THOROUGH // 3, seed=3)
        if said is None and mutation.profile == "micro" and mutation.params != profile_params("micro")
    ]
    (tmp_path / "built").mkdir()
    built = copied(tmp_path / "built", "micro")
    for mutation in accepted[:5]:
        shutil.rmtree(built.folder / "models", ignore_errors=True)
        (built.folder / "params.yaml").write_text(yaml.dump(mutation.params, sort_keys=False, allow_unicode=True))
        said = built.run("sh", "-c", "dvc repro || echo STOPPED")
        print(
            f"{'.'.join(map(str, mutation.place))}: {mutation.kind}: {mutation.value!r:.60}: {said.splitlines()[-2:]}"
        )
        if said.endswith("STOPPED\n"):
            assert re.search(r"^osler: .+: .+", said, re.M), said[-2000:]
            assert "Traceback" not in said
            assert not (built.folder / "models/cpt").exists(), said[-2000:]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for one, told in verdicts(project(Path(scratch)), *map(int, sys.argv[1:3])):
            print(one.profile, ".".join(map(str, one.place)), one.kind, told or f"ACCEPTED {one.value!r:.60}", sep="\t")
