"""What would run and what it would cost, said before anything runs."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from osler.build.pipeline import MISSING, ROOT, Declaration, read_params
from osler.build.reruns import Change, Rerun, StageCode, changes, code_change, overlapping, reruns
from osler.build.section import BuildError
from osler.commands import plan, plan_costs
from tests.support.command import osler
from tests.support.params import changed
from tests.support.project import ENVIRONMENT, copied
from tests.support.task_sequence import SECTION

CODE = "0a1b\npolars 2.1.0\n"
STAGES = {
    "a": Declaration("a", ("fingerprints/a.fp", "/raw/file"), ("data/a",), {}),
    "b@x": Declaration("b@x", ("fingerprints/b.fp", "data/a/part"), ("data/b/x",), {}),
    "b@y": Declaration("b@y", ("fingerprints/b.fp", "data/a/part"), ("data/b/y",), {}),
    "c": Declaration("c", ("fingerprints/c.fp", "data/b"), ("metrics/c.json",), {}),
}


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def change(**differences: Any) -> Change:
    nothing: dict[str, Any] = {
        "never_run": False, "command": False, "params": {}, "deps": {}, "hashes": {}, "lost_outs": (),
    }  # fmt: skip
    return Change(**nothing | differences)


def found(fingerprints: dict[str, StageCode] | None = None, **changed: Change) -> dict[str, Rerun]:
    everything = {name: changed.get(name.replace("@", "_"), change()) for name in STAGES}
    return reruns(STAGES, everything, fingerprints or {})


def test_where_nothing_changed_nothing_runs() -> None:
    """Also where outs lie in the cache only, so that they are missing as deps of others."""
    assert found() == {}
    assert found(b_x=change(deps={"data/a/part": "deleted"}), c=change(deps={"data/b": "deleted"})) == {}


def test_a_param_runs_its_stage_and_what_reads_from_it() -> None:
    """The reason has the old and the new value; what follows has none of its own."""
    result = found(b_x=change(params={"b.rate": (0.1, 0.2), "b.off": (MISSING, None)}))
    assert result == {
        "b@x": Rerun(("param b.off: unset -> null", "param b.rate: 0.1 -> 0.2"), ()),
        "c": Rerun((), ("b@x",)),
    }


def test_long_values_are_shown_where_they_differ() -> None:
    """Two templates that begin alike would look the same; short ones are shown whole."""
    then = f"{'a' * 50}Question: b"
    (reason,) = found(a=change(params={"t": (then, then.replace("Question", "Q"))}))["a"].reasons
    assert reason == 'param t: ...aaaaaaaaaQuestion: b" -> ...aaaaaaaaaQ: b"'
    (reason,) = found(a=change(params={"t": (MISSING, "a" * 50)}))["a"].reasons
    assert reason == f'param t: unset -> "{"a" * 36}...'


def test_data_that_no_stage_makes_and_what_was_never_run_are_reasons() -> None:
    """A file of the user's that changed, a stage without an entry in dvc.lock, and one whose result is gone."""
    result = found(a=change(deps={"/raw/file": "modified"}), b_y=change(never_run=True), c=change(lost_outs=("x",)))
    assert [rerun.reasons for rerun in result.values()] == [
        ("/raw/file: modified",), (), ("never run",), ("what it made is not in the cache",),
    ]  # fmt: skip
    assert list(result) == ["a", "b@x", "b@y", "c"]
    assert result["c"].after == ("b@x", "b@y")


def test_code_is_what_the_fingerprint_says_and_not_what_dvc_says() -> None:
    """DVC calls a missing fingerprint a change; a stage runs when the one computed now is not that of its last run."""
    ran = change(deps={"fingerprints/b.fp": "deleted"}, hashes={"fingerprints/b.fp": md5(CODE)})
    assert found({"fingerprints/b.fp": StageCode(CODE, None)}, b_x=ran) == {}
    edited = CODE.replace("0a1b", "2c3d")
    code = StageCode(edited, CODE, ("osler/build/a.py f",))
    assert found({"fingerprints/b.fp": code}, b_x=ran)["b@x"].reasons == ("code: osler/build/a.py f",)
    assert code_change(StageCode(CODE.replace("2.1.0", "2.2.0"), CODE), md5(CODE)) == "code: polars"
    many = StageCode(edited, CODE, tuple("abcdefgh"))
    assert code_change(many, md5(CODE)) == "code: a, b, c, d, e, f and 2 more"
    assert (
        code_change(StageCode(edited, None), md5(CODE))
        == code_change(StageCode(edited, edited, ("a",)), md5(CODE))
        == "code"
    )


def test_paths_overlap_when_one_holds_the_other() -> None:
    """A folder and a file in it, in either direction; a name that only begins alike does not."""
    assert overlapping("data/b", "data/b/x")
    assert overlapping("data/a/part", "data/a")
    assert not overlapping("data/b", "data/bb")
    assert not overlapping("/data/b", "data/b")


def test_changes_are_those_that_dvc_sees(tmp_path: Path) -> None:
    """In a project of two copies: first never run, then nothing; then an edited file, a param, and an out lost with its cache."""

    def dvc(*command: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True
        )

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    dvc("init")
    stages = {
        "one": {"cmd": "cp raw.txt one.txt", "deps": ["raw.txt"], "params": ["one"], "outs": ["one.txt"]},
        "two": {"cmd": "cp one.txt two.txt", "deps": ["one.txt"], "outs": ["two.txt"]},
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (tmp_path / "params.yaml").write_text("one: {rate: 0.1, betas: [0.9, 0.95]}\n")
    (tmp_path / "raw.txt").write_text("raw")
    assert all(found.never_run for found in changes(tmp_path).values())
    dvc("repro")
    assert not any(
        found.never_run or found.command or found.params or found.deps or found.lost_outs
        for found in changes(tmp_path).values()
    )
    (tmp_path / "raw.txt").write_text("edited")
    (tmp_path / "params.yaml").write_text("one: {rate: 0.2, betas: [0.9, 0.95], new: 1}\n")
    (tmp_path / "two.txt").unlink()
    found = changes(tmp_path)
    assert found["one"].params == {"one.rate": (0.1, 0.2), "one.new": (MISSING, 1)}
    assert found["one"].deps == {"raw.txt": "modified"}
    assert found["two"].lost_outs == ()
    for entry in (tmp_path / ".dvc/cache/files").rglob("*"):
        if entry.is_file():
            entry.unlink()
    assert changes(tmp_path)["two"].lost_outs == ("two.txt",)


def test_costs_of_the_default_by_hand() -> None:
    """400,000 tokens in steps of 512 are 782; of 151,744 parameters 6 N D, and attention over rows of 128 in a layer of 64."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    placed = plan_costs.placement(params["launch"], ())
    cpt = plan_costs.training("cpt", params, (0, True), placed)
    assert (cpt.tokens, cpt.steps, cpt.about) == (400_000, 782, False)
    assert cpt.flops == 6 * 400_000 * (151_744 + 64 * 128)
    assert cpt.memory.weights == 4 * 151_744
    assert plan_costs.training("sft@cpt", params, (46_807, False), placed).tokens == 46_807
    assert plan_costs.training("pretrain@base", params, (0, True), placed).steps == 547
    noised = plan_costs.training("neftune@cpt", params, (46_807, False), placed).flops
    pulled = params | {"neftune": {"alpha": 5, "consistency": 1}}
    assert plan_costs.training("neftune@cpt", pulled, (46_807, False), placed).flops == pytest.approx(4 / 3 * noised)
    still = params | {"neftune": {"alpha": 0, "consistency": 1}}
    assert plan_costs.training("neftune@cpt", still, (46_807, False), placed).flops == noised
    assert (cpt.seeds, plan_costs.trained_seeds("anneal@x", {"anneal": {"x": {}}})) == (3, 1)


def test_conversations_are_counted_only_where_they_are_those_of_these_params(tmp_path: Path) -> None:
    """From the manifest of `instruct`; where it would run, an assumption, and none longer than a row."""
    params = {"instruct": {"conversations": 10}, "pack": {"sequence_length_tokens": 128}}
    (tmp_path / "manifest.json").write_text('{"tokens": 77}')
    assert plan_costs.instruction_tokens(params, tmp_path, 500) == (77, False)
    assert plan_costs.instruction_tokens(params, None, 100) == (1000, True)
    assert plan_costs.instruction_tokens(params, None, 500) == (1280, True)


def test_hours_and_money_by_hand() -> None:
    """An H100 that reaches half of 989 TFLOP/s makes 1.78e18 FLOP an hour: 1,000 such hours on 8 are 5.2 days, and cost 2,500
    at 2.5."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    placed = plan_costs.placement(params["launch"], ["engine=ddp", "processes=8"])
    cost = plan_costs.TrainingCost(
        1, False, 1, 1000 * 3600 * 989e12 / 2, plan_costs.training("cpt", params, (0, True), placed).memory
    )
    (line,) = plan_costs.hours_lines({"cpt": cost}, placed, "h100", 0.5, 2.5, "bfloat16")
    assert line == "cpt: 1,000 device-hours of h100 (989 TFLOP/s, MFU 0.5), 5.2 days on 8, 2,500 at 2.5 an hour"
    three = dataclasses.replace(cost, seeds=3)
    assert "3,000 device-hours" in next(plan_costs.hours_lines({"cpt": three}, placed, "h100", 0.5, None, "bfloat16"))
    assert "bfloat16 only" in next(plan_costs.hours_lines({"cpt": cost}, placed, "h100", 0.5, None, "float32"))


def test_a_stage_is_planned_as_it_will_run() -> None:
    """Keys of launch.stages place it, are shown, and count in the days: half the devices take twice as long."""
    params = read_params(ROOT / "params.yaml")
    launch = params["launch"] | {"engine": "fsdp", "processes": 8, "nodes": 2, "stages": {"sft": {"nodes": 1}}}
    whole, sft = (plan_costs.placement(launch, (), stage) for stage in ("cpt", "sft@base"))
    assert (whole.devices, sft.devices) == (16, 8)
    assert list(plan_costs.own_lines(whole, {"cpt": whole, "sft@base": sft})) == ["  sft@base: nodes 1, on 8 devices"]
    memory = plan_costs.training("cpt", params, (0, True), whole).memory
    cost = plan_costs.TrainingCost(1, False, 1, 16 * 24 * 3600 * 989e12 / 2, memory)
    (line,) = plan_costs.hours_lines(
        {"cpt": cost, "sft@base": cost}, whole, "h100", 0.5, None, "bfloat16", {"sft@base": sft}
    )
    assert "3.0 days on 8 to 16" in line


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("engine=magic", r"--launch: launch.engine: .*'magic'"),
        ("prozesses=2", "launch.prozesses: unknown key"),
        ("nodes=8", "--launch: launch.processes: 1 on 8 nodes, but engine python runs 1"),
        ("prozess=2", "launch.prozess: unknown key, did you mean processes"),
        ("tracker=no", r"launch.tracker: .*'no'"),  # a text since YAML 1.2, as in params.yaml
        ("nodes={", "--launch nodes={: not a value in YAML"),
    ],
)
def test_another_layout_is_checked(pair: str, message: str) -> None:
    """A key or value that `launch` does not have is named."""
    with pytest.raises(BuildError, match=message):
        plan_costs.placement(read_params(ROOT / "params.yaml")["launch"], [pair])


def test_packages_that_are_not_those_of_a_model_are_told(tmp_path: Path) -> None:
    """Versions that differ, and packages that are gone, with the models they trained."""
    folder = tmp_path / "models/cpt"
    folder.mkdir(parents=True)
    from polars import __version__ as polars

    recorded = {"packages": {"polars": polars, "torch": "0.1.0", "no-such-package": "1.0"}}
    (folder / "provenance.json").write_text(json.dumps(recorded))
    found = plan.drift(tmp_path, {"cpt": Declaration("cpt", (), ("models/cpt", "results/training/cpt.csv"), {})})
    assert sorted(key.split(" -> ")[0] for key in found) == ["no-such-package 1.0", "torch 0.1.0"]
    assert found["no-such-package 1.0 -> not installed"] == ["models/cpt"]


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is no JSON: "), ("[1]", "is no JSON object"), ('{"packages": 1}', "packages: is")]
)
def test_an_odd_record_of_packages_is_told(tmp_path: Path, text: str, said: str) -> None:
    """File and key are named; a model without packages is no error."""
    folder, stages = tmp_path / "models/cpt", {"cpt": Declaration("cpt", (), ("models/cpt",), {})}
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(text)
    with pytest.raises(BuildError, match=f"^models/cpt/provenance.json: {said}"):
        plan.drift(tmp_path, stages)
    (folder / "provenance.json").write_text("{}")
    assert plan.drift(tmp_path, stages) == {}


def test_a_fresh_clone_has_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without dvc.lock every stage was never run, and nothing is missing, since the default makes its own data."""
    copied(tmp_path, None)
    monkeypatch.setattr(plan, "ROOT", tmp_path)
    osler("plan")
    printed = capsys.readouterr().out
    stages, would_run = (int(printed.split()[index]) for index in (2, 0))
    assert stages == would_run > 40
    assert "  cpt: never run" in printed
    assert "not there" not in printed
    assert not (tmp_path / "fingerprints").exists()


def test_a_full_scale_profile_has_a_plan_without_its_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is missing is listed, and costs are told all the same; on 64 devices Mistral 7B fits where it did not on one."""
    osler(
        "plan",
        "mistral-7b",
        "--device",
        "h100",
        "--launch",
        "engine=python",
        "--launch",
        "processes=1",
        "--launch",
        "nodes=1",
    )
    printed = capsys.readouterr().out
    assert "  <root>/corpus/notes, for ingest@notes\n" in printed
    assert "Mistral of 7,241,732,096 parameters" in printed
    assert " does not fit" in printed
    (tmp_path / "corpus/notes").mkdir(parents=True)
    divided = [
        f"--launch={pair}" for pair in ("engine=fsdp", "nodes=8", "micro_batch_rows=1", "activation_checkpointing=true")
    ]
    osler("plan", "mistral-7b", "--root", str(tmp_path), "--device", "h100", *divided)
    printed = capsys.readouterr().out
    assert "ingest@notes" not in printed
    assert f"  {tmp_path}/corpus/pmc_oa_comm, for ingest@pmc_articles\n" in printed
    assert " does not fit" not in printed


@pytest.mark.parametrize(
    ("pairs", "fits", "told"),
    [
        (("processes=1",), False, ()),
        (("processes=1", "offload=all"), True, ("launch.offload all: 116 GB in the memory of each machine",)),
        (
            ("processes=8", "engine=deepspeed", "zero_stage=2", "offload=optimizer"),
            True,
            ("deepspeed with ZeRO 2 on 8 devices", "launch.offload optimizer: 130 GB in the memory of each machine"),
        ),
        (("processes=8", "nodes=4", "shard_processes=8"), True, ("fsdp of 8 on 32 devices",)),
    ],
)
def test_one_gpu_of_80_gb_trains_mistral_7b_with_the_machines_memory(
    pairs: tuple[str, ...], fits: bool, told: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """16 bytes a parameter are too many for it; of ZeRO 2 on eight, 18 a parameter lie in the machine's memory."""
    osler("plan", "mistral-7b", "--device", "h100", *(f"--launch={pair}" for pair in ("nodes=1", *pairs)))
    printed = capsys.readouterr().out
    assert ("does not fit" not in printed) == fits
    assert "the first machine's memory holds the whole model in float32, 29 GB" in printed
    for line in told:
        assert line in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such"], "profiles/no-such.yaml: no such profile; there are continual, default"),
        (["--mfu", "40"], "--mfu 40: must be above 0 and at most 1"),
        (["--price", "2"], "--price: needs --device"),
        (["--root", "/data"], "--root: needs a profile"),
        (["micro", "--root", "data"], "--root data: must be absolute"),
    ],
)
def test_what_cannot_be_planned_is_one_line(arguments: list[str], message: str) -> None:
    """On standard error, without a traceback."""
    with pytest.raises(SystemExit, match=message) as caught:
        osler("plan", *arguments)
    assert "\n" not in str(caught.value)


LORA = {
    "from": "base", "rows": "instructions", "method": "lora", "rank": 4, "alpha": 8.0, "target_modules": ["q_proj", "v_proj"],
    "neftune_alpha": 0.0, "epochs": 1.0, "batch_tokens": 512,
}  # fmt: skip


def test_an_adapter_is_planned_as_one() -> None:
    """Moments of its weights alone, and its table says how FLOPs are counted."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"adapter": {"thin": LORA}}
    placed = plan_costs.placement(params["launch"], ())
    own = plan_costs.training("adapter@thin", params, (1000, False), placed)
    whole = plan_costs.training("sft@base", params, (1000, False), placed)
    trained = 2 * 4 * (64 + 64)  # one layer, of q_proj and v_proj
    assert (own.memory.gradients, own.memory.optimizer) == (4 * trained, 8 * trained)
    assert own.flops / own.tokens < 0.75 * whole.flops / whole.tokens
    lines = list(plan_costs.cost_lines({"adapter@thin": own}, params, placed, None))
    assert any("Of adapters they are 4 a frozen parameter" in line for line in lines)
    assert not any("Of adapters" in line for line in plan_costs.cost_lines({"sft@base": whole}, params, placed, None))


def test_an_exercise_is_counted_by_its_tokens(tmp_path: Path) -> None:
    """As its draws were packed, on the average; before that as conversations are assumed, none longer than a row."""
    adapters = {name: LORA | {"rows": f"exercises/{name}", "epochs": 2.0} for name in ("few", "all")}
    params = changed(("adapter",), adapters | {"thin": LORA})
    params["exercise"] = {"few": {"few": 10}, "all": {}}
    params["instruct"] |= {"conversations": 30}
    stages = {
        "instruct": Declaration("instruct", (), ("data/instructions",), {}),
        "exercises@few": Declaration("exercises@few", (), ("data/exercises/few",), {}),
        "exercises@all": Declaration("exercises@all", (), ("data/exercises/all",), {}),
    }
    for seed, tokens in ((1, 301), (2, 341)):
        (tmp_path / f"data/exercises/few/seeds/{seed}").mkdir(parents=True)
        (tmp_path / f"data/exercises/few/seeds/{seed}/manifest.json").write_text(json.dumps({"tokens": tokens}))
    nothing_runs: dict[str, Rerun] = {}
    for found, assumed, few in (
        (nothing_runs, 20, (321, False)),
        (None, 20, (10 * 20, True)),
        (None, 500, (10 * 128, True)),
        ({"exercises@few": Rerun(("code",), ())}, 20, (10 * 20, True)),
    ):
        asked = plan.Asked(conversation_tokens=assumed)
        learned = plan.learned_tokens(params, stages, found, tmp_path, asked)
        conversations = (30 * min(assumed, 128), True)
        assert learned == {"": conversations, "adapter@few": few, "adapter@all": conversations}
        placed = plan_costs.placement(params["launch"], ())
        cost = plan_costs.training("adapter@few", params, learned["adapter@few"], placed)
        assert (cost.tokens, cost.about, cost.steps) == (2 * few[0], few[1], -(-2 * few[0] // 512))
        lines = list(plan.training_lines(params, stages | {"adapter@few": stages["instruct"]}, found, tmp_path, asked))
        assert any(line.split()[:1] == ["adapter@few"] and f"{2 * few[0]:,}" in line for line in lines)


def test_tasks_in_sequence_are_counted_as_often_as_they_are_trained_on() -> None:
    """Of three tasks seven times a task's rows: three adapters of their own, one in turn again, and all three at once."""
    section = SECTION | {"tasks": ["a", "b", "c"], "train_rows": 10, "source_limit_tokens": 20, "epochs": 2.0}
    params = changed(("continual",), {"x": section})
    placed = plan_costs.placement(params["launch"], ())
    cost = plan_costs.training("continual@x", params, (0, False), placed)
    assert (cost.tokens, cost.about, cost.seeds) == (7 * 10 * 20 * 2, True, len(params["seeds"]))
    params["continual"]["x"] |= {"seeds": [1]}
    assert plan_costs.training("continual@x", params, (0, False), placed).seeds == 1
