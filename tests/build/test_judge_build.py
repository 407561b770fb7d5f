"""The whole micro build with judges: a model folder that reads likelihoods, and one behind an address."""

import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from osler.inference.judge_files import folder_digest
from tests.support.project import ENVIRONMENT, copied, ran
from tests.support.tiny import tiny_model, tiny_tokenizer

TASK = """task:
  advice:
    path: tasks/findings.jsonl
    format: jsonl
    id: id
    source: '{question}'
    target: null
    instruction: ''
    limit_tokens: 6
    metric: rubric
    criteria: [{criterion: Names a drug, points: 2.0}]
"""
JUDGE = """judge:
  near: {folder: JUDGE, digest: DIGEST, tasks: [advice], reading: likelihood, limit_tokens: 4}
  far:
    address: JUDGE_URL
    served_model: m-1
    tasks: [advice]
    models: [cpt-sft]
    pairs: [[base-sft, cpt-sft]]
    reading: written
    limit_tokens: 40
"""


class Answers(BaseHTTPRequestHandler):
    """Prefers what stands first, and finds every criterion met."""

    asked: list[str] = []  # noqa: RUF012 - of the class: each request is an object of its own

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][0]["content"]
        self.asked.append(text)
        said = '{"better": "A"}' if "<answer A>" in text else '{"met": true}'
        message = {
            "choices": [{"message": {"content": said}}],
            "model": "m-1-of-may",
            "usage": {"completion_tokens": 5},
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(message).encode())

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.mark.dag
@pytest.mark.builds
def test_judges_are_asked_once_and_stand_in_the_report(tmp_path: Path, address: str) -> None:
    """Scores, agreement with people and bias in metrics and report, and what is known is not asked again."""
    project = copied(tmp_path, "micro", ENVIRONMENT | {"JUDGE_URL": address})
    osler = (sys.executable, "-m", "osler")
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer), positions=2048).save_pretrained(tmp_path / "JUDGE")
    tokenizer.save_pretrained(tmp_path / "JUDGE")
    params = (tmp_path / "params.yaml").read_text()
    params = re.sub(r"^task:.*?\n(?=\w)", TASK, params, flags=re.M | re.S)
    (tmp_path / "params.yaml").write_text(re.sub(r"^judge: \{\}.*\n", JUDGE, params, flags=re.M))
    _, digest = folder_digest(tmp_path / "JUDGE", "judge.near")
    assert "judge.near.digest" in project.run(*osler, "check", fails=True)
    project.edit("params.yaml", "DIGEST", "ab" * 16)
    assert f"the files of JUDGE have {digest} (it is {'ab' * 16})" in project.run(*osler, "check", fails=True)
    project.edit("params.yaml", "ab" * 16, digest)
    project.run(*osler, "check")
    first = project.run("dvc", "repro")
    items = pl.read_parquet(tmp_path / "data/items/tasks/advice.parquet").height
    assert re.search(r"judge near: \d+ judgements asked, 0 known", first)
    assert "Running stage" not in project.run("dvc", "repro")
    rows = pl.read_parquet(tmp_path / "results/judgements/judgements.parquet")
    assert rows.filter(judge="near").height == 6 * items  # of six models; equal texts are asked about once
    assert not any(rows.filter(judge="near")["truncated"])
    far = rows.filter(judge="far", kind="preference")
    assert set(far["verdict"]) <= {"first", "same"}
    assert set(rows.filter(judge="far")["answered_by"].drop_nulls()) == {"m-1-of-may"}
    found = json.loads((tmp_path / "metrics/judged.json").read_text())
    assert found["scores"]["far"]["advice"]["points"] == {"cpt-sft": 1.0}
    assert found["scores"]["far"]["advice"]["preference"] == {"base-sft over cpt-sft": 0.5}
    if any(far["verdict"] == "first"):
        assert found["preferences"][0]["first_shown"]["estimate"] == 1
    assert "Judges" in (tmp_path / "metrics/report.md").read_text()
    asked = len(Answers.asked)
    sheet = tmp_path / "scratch/sheet.csv"
    project.run(*osler, "rate", str(sheet), "--judge", "far", "--task", "advice", "--rater", "anna")
    filled = pl.read_csv(sheet, infer_schema=False)
    assert "cpt-sft" not in sheet.read_text()
    told = pl.when(pl.col("criterion") == "").then(pl.lit("first")).otherwise(pl.lit("met"))
    filled.with_columns(verdict=told).write_csv(sheet)
    project.run(*osler, "rate", "--take", str(sheet))
    again = project.run("dvc", "repro")
    assert ran(again) == {"judge", "report"}
    assert "judge far: 0 judgements asked" in again
    assert len(Answers.asked) == asked
    agreement = json.loads((tmp_path / "metrics/judged.json").read_text())["agreement"]
    assert {one["raters"][0]["rater"] for one in agreement} == {"anna"}
    project.edit("params.yaml", "models: [cpt-sft]", "models: [cpt-sft, base]")
    project.run("dvc", "repro", "-q")
    assert len(Answers.asked) - asked <= items  # those of base alone; fewer where texts are the same
    assert len(Answers.asked) > asked
    project.edit("params.yaml", "[[base-sft, cpt-sft]]", "[[base-sft, nobody]]")
    assert "judge.far: nobody: no model that is evaluated" in project.run(*osler, "check", fails=True)
