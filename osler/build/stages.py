"""The stages of the project, as their modules lie in stages/."""

from pathlib import Path

TRAINING = (
    "pretrain",
    "cpt",
    "trunk",
    "anneal",
    "sft",
    "neftune",
    "adapter",
    "continual",
)  # started as the section `launch` says


def stage_modules(root: Path) -> dict[str, Path]:
    """Stage name -> module, of every stage but `code`.

    `code` is left out as it writes the others' fingerprints.
    """
    return {path.stem: path for path in sorted((root / "stages").glob("*.py")) if path.stem not in ("__init__", "code")}
