"""A model a training seed: where it lies, what it starts from, and that one more costs that one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from osler.build.files import file_hash, folder_hash
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.build.validation import validated
from osler.model.seeds import Seeds, folder_of, made_folder, model_hash
from osler.training.launch import LAUNCH
from tests.build.test_trunk import CPT, inputs
from tests.support.tiny import NUMERICS, launch

__all__ = ["inputs"]  # the fixture

SCRIPT = """
import sys
from pathlib import Path
from stages import cpt
from osler.training import trained_model
from osler.training.continued_pretraining import Cpt
from osler.model.numerics import Numerics

inputs, out = Path(sys.argv[1]), Path(sys.argv[2])
trained_model.SCRATCH = out / "scratch"
cpt.main(
    model=out / "models/base" if (out / "models/base").is_dir() else inputs / "models/base", packed=inputs / "packed",
    plan=inputs / "plan", trained_model=out / "models/cpt", training=out / "cpt.csv",
    cpt=Cpt.model_validate_json(sys.argv[3]), numerics=Numerics.model_validate_json(sys.argv[4]),
    seeds=tuple(map(int, sys.argv[5].split(","))),
)
"""


def trained(inputs: Path, out: Path, seeds: str, jobs: int = 1, fails: bool = False) -> str:
    """Run the stage `cpt` for `seeds` in a process of its own, into the folder `out`; what it prints."""
    (out / "models").mkdir(parents=True, exist_ok=True)
    subprocess.run(["rm", "-rf", out / "models/cpt"], check=True)  # as DVC does
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, inputs, out, CPT.model_dump_json(), NUMERICS.model_dump_json(), seeds],
        env=os.environ | {LAUNCH: launch(jobs=jobs).model_dump_json()}, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def test_a_seed_has_the_bytes_that_it_has_alone_however_many_processes_train(inputs: Path, tmp_path: Path) -> None:
    """Seeds 1, 2 and 3 by two processes: the first in the model's folder, each with the bytes of a build of its own."""
    trained(inputs, tmp_path / "all", "1,2,3", jobs=2)
    model = tmp_path / "all/models/cpt"
    assert [path.name for path in sorted((model / "seeds").iterdir())] == ["2", "3"]
    for seed, folder in ((1, model), (2, model / "seeds/2"), (3, model / "seeds/3")):
        trained(inputs, tmp_path / str(seed), str(seed))
        alone = tmp_path / str(seed) / "models/cpt"
        for name in ("model.safetensors", "provenance.json", "config.json"):
            assert file_hash(folder / name) == file_hash(alone / name)
        curve = tmp_path / "all/cpt.csv" if seed == 1 else folder / "training.csv"
        assert curve.read_bytes() == (tmp_path / f"{seed}/cpt.csv").read_bytes()
        assert json.loads((folder / "provenance.json").read_text())["settings"]["seed"] == seed
    assert (
        len({file_hash(folder / "model.safetensors") for folder in (model, model / "seeds/2", model / "seeds/3")}) == 3
    )


@pytest.mark.builds
def test_one_seed_more_trains_that_seed_alone(inputs: Path, tmp_path: Path) -> None:
    """The others are reused, also under another first seed; what no run asks for any more is forgotten."""
    first = trained(inputs, tmp_path, "1,2")
    assert first.count("steps") == 2
    before = folder_hash(tmp_path / "models/cpt")
    more = trained(inputs, tmp_path, "1,2,3", jobs=2)
    assert "cpt seed 1: reused" in more
    assert "cpt seed 2: reused" in more
    assert more.count("steps") == 1
    assert "steps" not in trained(inputs, tmp_path, "3,1")
    assert json.loads((tmp_path / "models/cpt/provenance.json").read_text())["settings"]["seed"] == 3
    assert len(list((tmp_path / "scratch/trained/cpt").iterdir())) == 2
    assert trained(inputs, tmp_path, "1,2").count("steps") == 1
    assert folder_hash(tmp_path / "models/cpt") == before


@pytest.mark.builds
def test_a_seed_starts_from_the_model_of_its_own_seed(inputs: Path, tmp_path: Path) -> None:
    """Of a base that was trained with seeds, each from its own, and one that is missing is an error; a downloaded one is all's."""
    trained(inputs, tmp_path / "base", "1,2")
    (tmp_path / "next/models").mkdir(parents=True)
    (tmp_path / "base/models/cpt").rename(tmp_path / "next/models/base")
    base = tmp_path / "next/models/base"
    trained(inputs, tmp_path / "next", "1,2")
    model = tmp_path / "next/models/cpt"
    for own, start in ((model, base), (model / "seeds/2", base / "seeds/2")):
        assert json.loads((own / "provenance.json").read_text())["inputs"]["model"] == model_hash(start)
    assert "models/base: trained with seed 1 and not with 4; list it in its `seeds`" in trained(
        inputs, tmp_path / "next", "4", fails=True
    )
    assert folder_of(inputs / "models/base", 4) == inputs / "models/base"


def test_another_seeds_model_is_no_part_of_the_first_ones_hash(tmp_path: Path) -> None:
    """Or adding a seed would train all that starts from the model anew."""
    made = {seed: made_folder(tmp_path / "m", seed, (7, 8)) for seed in (7, 8)}
    for seed, folder in made.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text(str(seed))
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/model.safetensors").write_text("7")
    assert model_hash(made[7]) == model_hash(tmp_path / "alone") != model_hash(made[8])
    assert folder_hash(made[7]) != folder_hash(tmp_path / "alone")


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "must be a list of at least one whole number"),
        ([1, 2, 1], "1 is named twice; take one out"),
        ([-1], r"\.0: Input should be greater than or equal to 0 \(it is -1\)$"),
        (1, r"must be a list of at least one whole number \(it is 1\)$"),
    ],
)
def test_seeds_that_are_none_are_refused(seeds: object, message: str) -> None:
    """With the key in the line."""
    with pytest.raises(BuildError, match=rf"params.yaml: seeds.*{message}"):
        validated("seeds", seeds, Seeds)
