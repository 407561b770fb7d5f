"""Which stages run after which change, on profiles/micro.yaml.

Each test changes a build, reads which stages DVC ran, and resets it as the README says.
"""

import json
import random
import re
import sys

import polars as pl
import pytest
from transformers import AutoTokenizer

from tests.support.project import Project, ran

pytestmark = [pytest.mark.dag, pytest.mark.builds]

MODELS = ("base", "base-neftune", "base-sft", "cpt", "cpt-neftune", "cpt-sft")
EVALUATIONS = {f"evaluate@{model}" for model in MODELS}
AFTER_CPT = {
    "cpt",
    "sft@cpt",
    "neftune@cpt",
    *(f"evaluate@{m}" for m in MODELS if m.startswith("cpt")),
    "judge",
    "report",
}


def test_alpha_reruns_exactly_what_depends_on_it(project: Project) -> None:
    """`dvc exp run -S neftune.alpha=10` runs neftune, its evaluations and the report; the old value again runs nothing."""
    output = project.run("dvc", "exp", "run", "-S", "neftune.alpha=10")
    neftune = {"neftune@base", "neftune@cpt", "evaluate@base-neftune", "evaluate@cpt-neftune", "judge", "report"}
    assert ran(output) == neftune
    difference = project.run("dvc", "metrics", "diff")
    assert "neftune" in difference
    assert len({len(line) for line in difference.splitlines() if line.strip()}) <= 3  # one table
    assert ran(project.run("dvc", "exp", "run", "-S", "neftune.alpha=5")) == set()


def test_a_chat_template_reruns_what_is_written_with_it(project: Project) -> None:
    """No tokens and no base or continued model; each fine-tuned model's tokenizer has it, the others' have none.

    Held-out bits do not depend on it. One that writes the same trains nothing again.
    """
    project.edit("params.yaml", "Question: {{", "Q: {{")
    wanted = {
        "template",
        "instruct",
        "judge",
        "report",
        *EVALUATIONS,
        *(f"{s}@{m}" for s in ("sft", "neftune") for m in ("base", "cpt")),
    }
    planned = project.run(sys.executable, "-m", "osler", "plan")
    output = project.run("dvc", "repro")
    assert ran(output) == wanted
    reasons, _, after = planned.partition("Mistral of")[0].partition("and, unless what they read comes out as it was: ")
    assert re.findall(r"^  (\S+):", reasons, re.M) == ["template"]
    assert {"template", *after.strip().split(", ")} == wanted
    assert len(re.findall(r"heldout: reused", output)) == 2 * 2  # of two seeds, base and cpt
    turns = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]
    for model in MODELS:
        for seed in ("", "seeds/2"):
            tokenizer = AutoTokenizer.from_pretrained(project.folder / "models" / model / seed)
            if model in ("base", "cpt"):
                assert tokenizer.chat_template is None
            else:
                assert tokenizer.apply_chat_template(turns, tokenize=False) == "<s>Q: a?\nAnswer: b</s>"
    project.edit("params.yaml", "Q: {{", "{# as in a form #}Q: {{")
    output = project.run("dvc", "repro")
    assert {"template", "sft@cpt"} <= ran(output)
    assert len(re.findall("reused, it has been trained before", output)) == 4 * 2
    assert not re.search(r"seed .: \d+ steps", output)


def test_a_weight_reruns_the_mixture_and_below_and_no_tokens(project: Project) -> None:
    """mix, cpt and what starts from it."""
    project.edit("params.yaml", "    notes: 0.3", "    notes: 0.5")
    assert ran(project.run("dvc", "repro")) == {"mix", *AFTER_CPT}


def test_a_longer_trunk_runs_its_new_segment_and_what_hangs_on_it(project: Project) -> None:
    """Not mix, not the segment before, no other evaluation; and the curve has one more point."""
    early = "  early: {from: base, tokens: 6000, maximum_epochs: 60.0}\n"
    project.edit("params.yaml", "trunk: {}", f"trunk:\n{early}")
    assert ran(project.run("dvc", "repro", "trunk@early")) == {"trunk@early"}
    project.edit("params.yaml", early, f"{early}  late: {{from: trunk-early, tokens: 6000, maximum_epochs: 60.0}}\n")
    project.edit(
        "params.yaml", "anneal: {}", "anneal:\n  late: {from: trunk-late, tokens: 3000, maximum_epochs: 60.0}\n"
    )
    project.edit("params.yaml", "- cpt-neftune\n", "- cpt-neftune\n- anneal-late\n")
    project.run(sys.executable, "-m", "osler", "check")
    assert ran(project.run("dvc", "repro")) == {"trunk@late", "anneal@late", "evaluate@anneal-late", "judge", "report"}
    curve = json.loads((project.folder / "metrics/curve.json").read_text())
    assert [point["model"] for point in curve["points"]] == ["base", "anneal-late", "cpt"]
    assert [0 < point["tokens"] < 15500 for point in curve["points"]] == [False, True, False]


def test_a_strategys_setting_recomputes_that_strategy_alone(project: Project) -> None:
    """Each evaluation reuses the other strategies' predictions, counted in items, and the held-out losses."""
    project.edit("params.yaml", "    ensemble: 4", "    ensemble: 3")
    output = project.run("dvc", "repro")
    assert ran(output) == EVALUATIONS | {"questions", "judge", "report"}
    assert re.findall(r"(\w+) \(full_answer\): computed \d+ items", output) == ["medprompt"] * len(MODELS)
    for reused, protocols in (("zero_shot", 5 + 1), ("few_shot", 1), ("heldout", 2), ("tasks", 1)):
        assert not re.findall(rf"^seed .: {reused}\b.*: computed", output, re.MULTILINE)
        assert len(re.findall(rf"^seed .: {reused}\b.*: reused \d+", output, re.MULTILINE)) == protocols * len(MODELS)


def test_a_comment_reruns_only_the_fingerprints(project: Project) -> None:
    """A comment and a docstring in a module that every stage imports."""
    for name in ("osler/build/stage.py", "osler/tokens/packing.py"):
        path = project.folder / name
        path.write_text(path.read_text() + "\n# a thought\n")
    assert ran(project.run("dvc", "repro")) == {"code"}


def test_an_edit_reruns_the_stages_that_run_it(project: Project) -> None:
    """A changed constant of the report reruns code and report."""
    project.edit("osler/statistics/claims.py", "POWER = 0.8", "POWER = 0.9")
    assert ran(project.run("dvc", "repro")) == {"code", "report"}


def test_where_training_runs_triggers_nothing(project: Project) -> None:
    """The section `launch` is no dependency."""
    project.edit("params.yaml", "engine: python", "engine: ddp")
    project.edit("params.yaml", "processes: 1", "processes: 2")
    project.edit("params.yaml", "checkpoint_every_steps: 1", "checkpoint_every_steps: 7")
    assert ran(project.run("dvc", "repro")) == set()


def letter(number: int) -> str:
    """Thirty English words in an order of their own for each number."""
    words = [
        "the",
        "patient",
        "was",
        "seen",
        "in",
        "clinic",
        "with",
        "mild",
        "pain",
        "after",
        "a",
        "long",
        "walk",
        "and",
        "felt",
        "better",
        "when",
        "resting",
        "at",
        "home",
    ]
    return f"Letter {number}: {' '.join(random.Random(number).choices(words, k=30))}."


def test_a_new_source_runs_its_own_chain_and_what_reads_all_sources(project: Project) -> None:
    """Its ingest, screen, tokenize and pack; select, mix and below, and the tokenizer, which comes out the same.

    So do the tasks, which ask all sources whether one screens their file. Taken out again, it leaves nothing behind.
    """
    text = (project.folder / "params.yaml").read_text()
    section = re.search(r"^  notes:\n(?:    .*\n)+", text, re.M)
    assert section
    extra = section.group().replace("notes:", "letters:").replace("corpus/notes", "corpus/letters.jsonl")
    letters = project.folder / "data/raw/letters.jsonl"
    letters.write_text(
        "".join(json.dumps({"id": str(n), "license": "CC0-1.0", "text": letter(n)}) + "\n" for n in range(9))
    )
    extra = extra.replace("corpus/letters.jsonl", "../letters.jsonl")
    project.edit("params.yaml", section.group(), section.group() + extra)
    project.edit("params.yaml", "  notes: clinical\n", "  notes: clinical\n  letters: clinical\n")
    project.edit("params.yaml", "  - notes\n", "  - notes\n  - letters\n")
    project.edit("params.yaml", "    notes: 0.3\n", "    notes: 0.3\n    letters: 0.05\n")
    output = project.run("dvc", "repro")
    chain = {f"{stage}@letters" for stage in ("ingest", "screen", "tokenize", "pack")}
    assert ran(output) == chain | {"select", "mix", "tokenizer", "tasks@findings", "tasks@readings"} | AFTER_CPT
    project.reset()
    letters.unlink()
    assert ran(project.run("dvc", "repro")) <= {"select", "mix", "cpt", "report", "tokenizer", *AFTER_CPT}


def test_a_benchmark_taken_out_leaves_the_results(project: Project) -> None:
    """Its items stay on disk until a stage reads their folder; nothing is scored on them or compared with them any more."""
    project.edit(
        "params.yaml", "benchmark:\n", "benchmark:\n  again:\n    path: benchmark/items.jsonl\n    format: jsonl\n"
    )
    project.run("dvc", "repro", "evaluate@base")
    scored = project.folder / "results/predictions/base/predictions.parquet"
    assert set(pl.read_parquet(scored)["benchmark"]) == {"again", "synthetic"}
    project.edit("params.yaml", "  again:\n    path: benchmark/items.jsonl\n    format: jsonl\n", "")
    project.run("dvc", "repro", "evaluate@base")
    assert set(pl.read_parquet(scored)["benchmark"]) == {"synthetic"}
