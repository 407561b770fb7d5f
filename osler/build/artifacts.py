"""Where the stages of a project wrote what."""

from collections.abc import Mapping
from pathlib import Path

from osler.build.pipeline import Declaration, artifact_name
from osler.build.provenance import FILE, Record, provenance
from osler.build.section import BuildError


class Artifacts:
    """Where the stages of a project write what."""

    def __init__(self, root: Path, stages: Mapping[str, Declaration]) -> None:
        self.root = root
        self.stages = stages

    def path(self, stage: str, artifact: str) -> Path:
        """The out of `stage` of that name.

        Raises:
            BuildError: there is no such stage, or it has not been built.
        """
        if stage not in self.stages:
            raise BuildError(f"dvc.yaml: no stage {stage}")
        path = next(self.root / out for out in self.stages[stage].outs if artifact_name(out, True) == artifact)
        if not path.exists():
            raise BuildError(f"{path.relative_to(self.root)}: not there; run `dvc repro {stage}` or `dvc pull`")
        return path

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def models(self) -> dict[str, tuple[Path, Record]]:
        """Name -> folder and provenance of each model that has been built.

        Raises:
            BuildError: a provenance.json is odd; see `osler.build.provenance`.
        """
        folders = [
            self.root / out
            for stage in self.stages.values()
            for out in stage.outs
            if artifact_name(out, True) == "trained_model"
        ]
        built = (folder for folder in folders if (folder / FILE).is_file())
        return {folder.name: (folder, provenance(folder, self.root)) for folder in built}
