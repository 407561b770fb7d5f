"""Stage `code`: one fingerprint for each stage.

An edit so reruns the stages that run it and no others.

Data and evaluation stages also depend on the versions of the packages they import; training stages do not, since a
security update must not discard a month of training: their models record the versions instead. 1.7 s.
"""

from pathlib import Path

from osler.build.files import write_text
from osler.build.fingerprint import Repository, fingerprint
from osler.build.stage import run
from osler.build.stages import TRAINING, stage_modules


def main(raw: tuple[Path, ...], fingerprints: Path) -> None:
    """Write `fingerprints/<stage>.fp` for every stage."""
    root = next(path for path in raw if path.name == "stages").parent
    repository = Repository(root)
    for name, module in stage_modules(root).items():
        text = fingerprint(module, root, with_packages=name not in TRAINING, repository=repository)
        write_text(fingerprints / f"{name}.fp", text)


if __name__ == "__main__":
    run(main)
