"""Stage `judges`: models that judge what the build's models write, if any.

They are of the Hub, of a folder, or the build's own base.
"""

from collections.abc import Mapping
from pathlib import Path

from osler.build.files import write_json
from osler.build.hub import ROOT, ModelFiles
from osler.build.stage import run
from osler.evaluation.judges import Judge
from osler.inference.judge_files import take_judge


def main(judge: Mapping[str, Judge], model: Path, judges: Path) -> None:
    """Fill the folder `judges`, with a folder for each that has files.

    `judges.json` in it lists these, and makes a folder even where there is none. `model` is the build's base.

    Raises:
        BuildError: see `take_judge`.
    """
    here = [name for name, section in sorted(judge.items()) if section.address is None]
    for name in here:
        section = judge[name]
        pin: ModelFiles | tuple[Path, str] | None = None
        if section.repository is not None:
            pin = ModelFiles(repository=section.repository, revision=section.revision or "", files=section.files or ())
        elif section.folder is not None:
            pin = ROOT / section.folder, section.digest or ""
        take_judge(f"judge.{name}", pin, model, judges / name)
    write_json(judges / "judges.json", here)


if __name__ == "__main__":
    run(main)
