"""`osler export`: a model as a standard Hugging Face folder.

Its card becomes README.md. The files are copies, so that nothing done to them reaches DVC's cache. The optimizer of a trunk
stays behind. They must be the files that were built, and the card about these very files, told by their hash: 0.7 GB/s.
"""

import os
import shutil
from pathlib import Path

from osler.build.artifacts import Artifacts
from osler.build.pipeline import ROOT, declarations, read_params
from osler.build.recorded import check_deps
from osler.build.section import BuildError
from osler.build.validation import PARAMS, suggestion
from osler.model.seeds import model_hash, own_files

LEFT_OUT = ("optimizer.safetensors",)


def write_export(model: Path, card: Path, folder: Path) -> list[str]:
    """Copy `model` with `card` to `folder`, whole or not at all.

    It returns the names of the files.

    Raises:
        BuildError: `folder` is there and not empty, or the card is about other files.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BuildError(f"{folder}: is there and not an empty folder; name a new one")
    if not card.is_file() or model_hash(model) not in card.read_text(encoding="utf-8"):
        raise BuildError(f"results/cards/{card.name}: no card of these files; run `dvc repro report`")
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for file in own_files(model):
            if file.name not in LEFT_OUT:
                target = temporary / file.relative_to(model)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        shutil.copyfile(card, temporary / "README.md")
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def say(name: str, folder: Path) -> None:
    """Export the model `name`, and say what was written.

    Raises:
        BuildError: no such model was built here, or `folder` cannot be written.
    """
    artifacts = Artifacts(ROOT, declarations(ROOT, read_params(ROOT / PARAMS)))
    models = artifacts.models()
    if name not in models:
        meant = suggestion(name, list(models))
        raise BuildError(f"{name}: no model that was built here{meant}; there are {', '.join(models) or 'none'}")
    cards = artifacts.path("report", "cards")
    model, _ = models[name]
    check_deps(ROOT, [artifacts.shown(model)], artifacts.stages.keys())
    try:
        written = write_export(model, cards / f"{name}.md", folder)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be written: {error.strerror}; name another folder") from None
    print(f"{folder}: {', '.join(written)}")
