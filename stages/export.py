"""Write a model as a standard Hugging Face folder: its files, its card as README.md, its provenance.

    python -m stages.export cpt-neftune /some/folder

The files are copies, so that nothing done to them reaches DVC's cache. The optimizer of a trunk stays behind. The card must
be about these very files, told by their hash: 0.7 GB/s. A command, not a stage.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from stages.lib.files import folder_hash
from stages.lib.section import BuildError
from stages.lib.stage import PARAMS, ROOT, declarations, read_params, suggestion
from stages.trace import Artifacts

LEFT_OUT = ("optimizer.safetensors",)


def write_export(model: Path, card: Path, folder: Path) -> list[str]:
    """Copy `model` with `card` to `folder`, whole or not at all; the names of the files.

    Raises:
        BuildError: `folder` is there and not empty, or the card is about other files.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BuildError(f"{folder}: is there and not an empty folder; name a new one")
    if not card.is_file() or folder_hash(model) not in card.read_text(encoding="utf-8"):
        raise BuildError(f"results/cards/{card.name}: no card of these files; run `dvc repro report`")
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for file in sorted(path for path in model.rglob("*") if path.is_file() and path.name not in LEFT_OUT):
            target = temporary / file.relative_to(model)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        shutil.copyfile(card, temporary / "README.md")
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Export, and say what was written."""
    parser = argparse.ArgumentParser(prog="python -m stages.export", description="A model as a Hugging Face folder.")
    parser.add_argument("model", help="its name in models/, one of `evaluated`")
    parser.add_argument("folder", type=Path, help="where to; a new or empty folder")
    arguments = parser.parse_args()
    try:
        artifacts = Artifacts(ROOT, declarations(ROOT, read_params(ROOT / PARAMS)))
        models = artifacts.models()
        if arguments.model not in models:
            meant = suggestion(arguments.model, list(models))
            raise BuildError(
                f"{arguments.model}: no model that was built here{meant}; there are {', '.join(models) or 'none'}"
            )
        cards = artifacts.path("report", "cards")
        model, _ = models[arguments.model]
        written = write_export(model, cards / f"{arguments.model}.md", arguments.folder)
    except BuildError as error:
        sys.exit(f"osler: {error}")
    except OSError as error:
        sys.exit(f"osler: {arguments.folder}: cannot be written: {error.strerror}; name another folder")
    print(f"{arguments.folder}: {', '.join(written)}")


if __name__ == "__main__":
    main()
