"""Profiles: a whole params.yaml from a file that says what it extends and what differs.

    extends: default            # a file of profiles/, without .yaml
    neftune:
      alpha: 10                 # all other keys of `neftune` stay
    corpus:                     # named by you: the whole table is this one
      notes: clinical

Settings merge key by key. Lists, and tables whose keys are names of one's own (TABLES), replace what was there as a whole. A
key that an overlay sets to null is off, and absent from what is written. Comments come along with what they stand beside.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from osler.build.section import BuildError
from osler.build.validation import suggestion

FOLDER = "profiles"
EXTENDS = "extends"
NAMED = (
    "source",
    "benchmark",
    "task",
    "exercise",
    "synthesize",
    "download",
    "download_model",
    "pretrain",
    "trunk",
    "anneal",
    "adapter",
    "continual",
    "judge",
)
"""Sections whose keys are names of one's own, each with a section below it."""
SHARES = ("tokenizer.sources", "mix.weights", "mix.epochs", "instruct.weights", "instruct.benchmark_training_splits")
TABLES = frozenset((*NAMED, "corpus", *SHARES))


def profile_names(root: Path) -> list[str]:
    """The profiles of a project."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.yaml"))


def profile(root: Path, name: str) -> str:
    """The whole params.yaml that a profile stands for.

    It is the profile `name` of the project in `root`. The key `root` is as the profile has it.

    Raises:
        BuildError: no such profile, one that extends itself, or no YAML.
    """
    chain: list[str] = []
    overlays: list[CommentedMap] = []
    above: str | None = name
    while above is not None:
        where = f"{FOLDER}/{chain[-1]}.yaml: {EXTENDS}: {above}" if chain else f"{FOLDER}/{name}.yaml"
        if above in chain:
            raise BuildError(f"{where}: extends itself, by {' and '.join(chain)}; let one of them extend another file")
        if above not in (there := profile_names(root)):
            known = suggestion(above, there) or f"; there are {', '.join(there)}"
            raise BuildError(f"{where}: no such profile{known}")
        chain.append(above)
        try:
            text = (root / FOLDER / f"{above}.yaml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BuildError(f"{where}: cannot be read: {error}") from None
        overlays.append(parsed(text, f"{FOLDER}/{above}.yaml"))
        above = overlays[-1].pop(EXTENDS, None)
        if above is not None and not isinstance(above, str):
            raise BuildError(f"{FOLDER}/{chain[-1]}.yaml: {EXTENDS}: must be the name of a profile (it is {above!r})")
    text = written(merged(list(reversed(overlays))))
    if len(chain) > 1:
        text = f"# Written by `osler profile {name}`: profiles/{name}.yaml over {' over '.join(chain[1:])}.\n{text}"
    return text


def parsed(text: str, where: str) -> CommentedMap:
    """A YAML text with its comments.

    Raises:
        BuildError: it is no YAML, or no mapping.
    """
    try:
        found = _yaml().load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise BuildError(f"{where}: {line}{getattr(error, 'problem', None) or 'no YAML'}; correct it") from None
    if not isinstance(found, CommentedMap):
        raise BuildError(f"{where}: no mapping of sections")
    return found


def merged(layers: Sequence[CommentedMap]) -> CommentedMap:
    """The first of `layers` changed by each that follows.

    Its head comment is the last one's.
    """
    whole, *overlays = layers
    for overlay in overlays:
        _merge(whole, overlay, "")
        whole.ca.comment = overlay.ca.comment
    return whole


def _merge(whole: CommentedMap, overlay: CommentedMap, prefix: str) -> None:
    for key, value in overlay.items():
        where = f"{prefix}{key}"
        both = isinstance(value, CommentedMap) and isinstance(whole.get(key), CommentedMap)
        if both and where not in TABLES:
            _merge(whole[key], value, f"{where}.")
            continue
        if value is None and key in whole and prefix:
            del whole[key]  # off is absent
            continue
        whole[key] = value
        if key in overlay.ca.items:
            whole.ca.items[key] = overlay.ca.items[key]


def written(params: Mapping[str, Any]) -> str:
    """YAML in the layout of this project.

    There is a blank line between sections, none elsewhere.
    """
    stream = io.StringIO()
    _yaml().dump(params, stream)
    blocks: list[list[str]] = [[]]
    for line in filter(str.strip, stream.getvalue().splitlines()):
        is_inside = line.startswith((" ", "-"))
        if blocks[-1] and not is_inside and not blocks[-1][-1].startswith("#"):
            blocks.append([])
        blocks[-1].append(line)
    text = ""
    for before, block in zip([[], *blocks], blocks, strict=False):
        is_section = any(any(line.startswith((" ", "-")) for line in each) for each in (before, block))
        text += "\n" * bool(before and is_section) + "\n".join(block) + "\n"
    return text


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
