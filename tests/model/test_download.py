"""Stages download and download_model, and encoders, against a Hub that serves one dataset and one model on this machine."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError
from transformers import AutoTokenizer

from osler.build.files import file_hash, folder_hash, read_json, write_json
from osler.build.hub import ModelFiles
from osler.inference.encoder_files import Scorer
from osler.inference.text_encoder import TextEncoder
from osler.model.folder import trainable_model
from osler.model.origin import DownloadModel
from stages.download import Download
from tests.support.damage import flip
from tests.support.project import ENVIRONMENT
from tests.support.tiny import NUMERICS, tiny_encoder, tiny_model, tiny_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"data/train.jsonl": b'{"text": "a"}\n', "README.md": b"# cards\n", "pictures.bin": b"\0"}
MODEL: dict[str, bytes] = {}  # filled by the fixture `model`


class Hub(BaseHTTPRequestHandler):
    """The two requests that a snapshot needs: what is at a commit, and a file of it."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        for listing, place, served in (
            (f"/api/datasets/owner/notes/tree/{COMMIT}", f"/datasets/owner/notes/resolve/{COMMIT}/", FILES),
            (f"/api/models/owner/model/tree/{COMMIT}", f"/owner/model/resolve/{COMMIT}/", MODEL),
        ):
            if path == listing:
                files = [
                    {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}
                    for name, content in served.items()
                ]
                return self.answer(json.dumps(files).encode())
            if path.startswith(place):
                return self.answer(served.get(path.removeprefix(place)))
        return self.answer(None)

    def answer(self, content: bytes | None) -> None:
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        is_large = self.path.endswith((".safetensors", ".jsonl"))
        self.send_header("ETag", f'"{(sha256 if is_large else sha1)(content or b"").hexdigest()}"')
        self.end_headers()
        if content and self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    """Of the Hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def downloaded(address: str, folder: Path, revision: str = COMMIT, files: str = "*.jsonl") -> str:
    """What the stage prints, in a process of its own: the package reads its settings when it is imported."""
    script = (
        "import sys; from pathlib import Path; from stages.download import Download, main\n"
        "section = Download(repository='owner/notes', revision=sys.argv[2], files=(sys.argv[3],))\n"
        "main(section, 'notes', Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), revision, files],
        cwd=Path(__file__).parents[2],
        env=ENVIRONMENT | {"HF_ENDPOINT": address, "HF_HOME": str(folder.parent / "home")},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_the_files_asked_for_come_and_nothing_else(address: str, tmp_path: Path) -> None:
    """With the bytes of the commit; twice the same folder, without traces of the cache."""
    assert downloaded(address, tmp_path / "one").endswith("notes: 1 files, 14 bytes of owner/notes at 0123456789ab\n")
    downloaded(address, tmp_path / "two")
    assert [path.relative_to(tmp_path / "one").as_posix() for path in (tmp_path / "one").rglob("*")] == [
        "data",
        "data/train.jsonl",
    ]
    assert (tmp_path / "one/data/train.jsonl").read_bytes() == FILES["data/train.jsonl"]
    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")


@pytest.mark.parametrize(
    ("revision", "files", "message"),
    [
        ("f" * 40, "*", "download.notes: owner/notes could not be fetched"),
        (COMMIT, "*.csv", "download.notes.files: no file of owner/notes matches"),
    ],
)
def test_what_is_not_there_is_an_error(address: str, tmp_path: Path, revision: str, files: str, message: str) -> None:
    """An unknown commit, or patterns that no file has."""
    assert message in downloaded(address, tmp_path / "raw", revision, files)


@pytest.mark.parametrize("changed", [{"revision": "main"}, {"repository": "notes"}, {"files": ()}])
def test_a_branch_is_no_revision(changed: dict[str, object]) -> None:
    """Only a commit pins bytes."""
    values: dict[str, object] = {"repository": "owner/notes", "revision": COMMIT, "files": ("*",)}
    with pytest.raises(ValidationError):
        Download.model_validate(values | changed)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tokenizer's folder, as its stage writes it.

    The Hub serves a tiny Mixtral with weights in two formats, a tokenizer.json and a chat template of its own.
    """
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    tiny_model(len(tokenizer), experts=3).save_pretrained(tmp_path / "served")
    MODEL.clear()
    MODEL.update({path.name: path.read_bytes() for path in (tmp_path / "served").iterdir()})
    MODEL["tokenizer.json"] = (tmp_path / "tokenizer/tokenizer.json").read_bytes()
    MODEL["pytorch_model.bin"] = b"pickle"
    MODEL["tokenizer_config.json"] = b'{"chat_template": "{{ messages }}"}'
    return tmp_path / "tokenizer"


ARCHITECTURE = {
    "hidden_size": 32, "layers": 2, "heads": 4, "key_value_heads": 2, "intermediate_size": 48, "initializer_range": 0.3,
    "tie_embeddings": False, "maximum_positions": 128,
    "experts": {"number": 3, "per_token": 2, "router_loss_coefficient": 0.02},
}  # fmt: skip


def downloaded_model(address: str, tokenizer: Path, is_given: bool = True, **architecture: object) -> str:
    """What the stage prints; it fills the folder `base` beside the tokenizer's."""
    script = (
        "import json, sys; from pathlib import Path; from stages import download_model as stage; from osler.build import hub\n"
        "from osler.model.architecture import Architecture\n"
        "folder = Path(sys.argv[1]); hub.ROOT = folder.parent\n"
        "section = stage.DownloadModel(repository='owner/model', revision=sys.argv[2], files=('*.json', '*.safetensors'))\n"
        "sizes = json.loads(sys.argv[3])\n"
        "sizes = sizes and Architecture.model_validate(sizes)\n"
        "stage.main(section, sizes, 'base', folder, folder.parent / 'base')"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            str(tokenizer),
            COMMIT,
            json.dumps(ARCHITECTURE | architecture if is_given else None),
        ],
        cwd=Path(__file__).parents[2],
        env=ENVIRONMENT | {"HF_ENDPOINT": address, "HF_HOME": str(tokenizer.parent / "home")},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def test_a_base_model_comes_whole_and_without_pickle(address: str, model: Path, tmp_path: Path) -> None:
    """A folder that transformers loads, with this build's tokenizer and no template, and what it is.

    A second time, nothing is fetched.
    """
    assert downloaded_model(address, model).endswith("bytes of owner/model at 0123456789ab\n")
    base = tmp_path / "base"
    loaded = trainable_model(base)
    assert loaded.config.router_aux_loss_coef == 0.02
    assert AutoTokenizer.from_pretrained(base).get_vocab() == tiny_tokenizer().get_vocab()
    assert AutoTokenizer.from_pretrained(base).chat_template is None
    assert not (base / "pytorch_model.bin").exists()
    provenance = json.loads((base / "provenance.json").read_text())
    assert provenance["revision"] == COMMIT
    assert provenance["files"]["model.safetensors"] == file_hash(base / "model.safetensors")
    kept = folder_hash(base)
    shutil.rmtree(base)
    MODEL["model.safetensors"] = b"other"
    downloaded_model(address, model)
    assert folder_hash(base) == kept


def test_a_fetched_file_that_the_disk_changed_is_fetched_again(address: str, model: Path, tmp_path: Path) -> None:
    """One bit of the weights that scratch/ keeps: the line names the file, and the model is the Hub's."""
    downloaded_model(address, model)
    kept = folder_hash(tmp_path / "base")
    shutil.rmtree(tmp_path / "base")
    (weights,) = (tmp_path / "scratch").rglob("model.safetensors")
    flip(weights, 8 * (weights.stat().st_size - 5))
    said = downloaded_model(address, model)
    assert f"warning: {weights}: damaged; fetched again" in said
    assert folder_hash(tmp_path / "base") == kept


def test_a_base_model_of_other_sizes_or_tokens_is_refused(address: str, model: Path) -> None:
    """One line that names what differs."""
    printed = downloaded_model(address, model, layers=3)
    assert (
        "params.yaml: architecture: does not fit owner/model: it says layers 3, for a num_hidden_layers of 2" in printed
    )
    assert "experts, for a model_type mixtral" in downloaded_model(address, model, experts=None)
    other = json.loads((model / "tokenizer.json").read_text())
    other["model"]["vocab"]["zebra"] = other["model"]["vocab"].pop("Ġthe", 399)
    (model / "tokenizer.json").write_text(json.dumps(other))
    assert "params.yaml: tokenizer: its vocabulary is not that of owner/model" in downloaded_model(address, model)


def test_weights_that_may_run_code_are_no_files_to_take() -> None:
    """Only safetensors and JSON."""
    with pytest.raises(ValidationError, match="other weights may run code"):
        DownloadModel(repository="owner/model", revision=COMMIT, files=("*.bin",))


@pytest.fixture
def encoder(tmp_path: Path) -> None:
    """The Hub serves a tiny BERT with its pooling, and weights in another format."""
    tiny_encoder(tmp_path / "served")
    write_json(tmp_path / "served/1_Pooling/config.json", {"pooling_mode_cls_token": True})
    paths = [path for path in (tmp_path / "served").rglob("*") if path.is_file()]
    MODEL.clear()
    MODEL.update({path.relative_to(tmp_path / "served").as_posix(): path.read_bytes() for path in paths})
    MODEL["pytorch_model.bin"] = b"pickle"


FILES_OF_ENCODER = ("*.json", "model.safetensors")


def downloaded_encoders(address: str, folder: Path, **sections: object) -> str:
    """What the stage prints; it fills the folder `encoders` in `folder`."""
    script = (
        "import sys; from pathlib import Path; from osler.inference import encoder_files as encoders; from osler.build import hub\n"
        "folder = Path(sys.argv[1]); hub.ROOT = folder\n"
        "wanted = encoders.Encoders.model_validate_json(sys.argv[2])\n"
        "encoders.write_encoders(wanted, folder / 'encoders', folder / 'base')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), json.dumps({"embeddings": None, "bertscore": None} | sections)],
        cwd=Path(__file__).parents[2],
        env=ENVIRONMENT | {"HF_ENDPOINT": address, "HF_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.mark.usefixtures("encoder")
def test_encoders_come_with_what_they_are(address: str, tmp_path: Path) -> None:
    """Both sections of one repository: a folder each that can be asked, with pooling and layer, and without pickle."""
    source = {"repository": "owner/model", "revision": COMMIT, "files": FILES_OF_ENCODER}
    printed = downloaded_encoders(address, tmp_path, embeddings=source, bertscore=source | {"layer": 1})
    kept = [name for name in MODEL if name.endswith((".json", ".safetensors"))]
    lines = [
        f"encoder.{name}: {len(kept)} files of owner/model at {COMMIT[:12]}" for name in ("embeddings", "bertscore")
    ]
    assert printed.splitlines() == lines
    assert read_json(tmp_path / "encoders/encoders.json") == ["bertscore", "embeddings"]
    for name, pooling, layer in (("embeddings", "cls", None), ("bertscore", None, 1)):
        folder = tmp_path / "encoders" / name
        facts = read_json(folder / "encoder.json")
        assert (facts["pooling"], facts["layer"], facts["revision"]) == (pooling, layer, COMMIT)
        assert sorted(facts["files"]) == sorted(kept)
        assert TextEncoder(folder, 64, NUMERICS).bert_scores(["fern tea"], ["fern tea"])[0].f1 == pytest.approx(1)


@pytest.mark.usefixtures("encoder")
def test_files_that_are_no_longer_asked_for_are_left_out(address: str, tmp_path: Path) -> None:
    """What was fetched before, with other patterns, is no part of the folder, and its pooling does not count."""
    source = {"repository": "owner/model", "revision": COMMIT, "files": FILES_OF_ENCODER}
    downloaded_encoders(address, tmp_path, embeddings=source)
    shutil.rmtree(tmp_path / "encoders")
    names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    downloaded_encoders(address, tmp_path, embeddings=source | {"files": names})
    folder = tmp_path / "encoders/embeddings"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "encoder.json"])
    assert read_json(folder / "encoder.json")["pooling"] == "mean"


def test_without_encoders_there_is_a_folder_that_says_so(tmp_path: Path) -> None:
    """The network is not asked."""
    assert downloaded_encoders("http://127.0.0.1:9", tmp_path) == ""
    assert [path.name for path in (tmp_path / "encoders").iterdir()] == ["encoders.json"]


def test_the_builds_own_base_reads_texts(tmp_path: Path) -> None:
    """Of its folder weights, config and tokenizer, not other seeds; what is there says what it is. No network is asked."""
    tiny_encoder(tmp_path / "base")
    (tmp_path / "base/seeds/2").mkdir(parents=True)
    (tmp_path / "base/seeds/2/model.safetensors").write_bytes(b"another")
    write_json(tmp_path / "base/provenance.json", {"made": "by hand"})
    wanted = {"from": "base", "layer": 2, "idf": True}
    kept = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert downloaded_encoders("http://127.0.0.1:9", tmp_path, bertscore=wanted).startswith(
        "encoder.bertscore: 4 files of models/base\n"
    )
    folder = tmp_path / "encoders/bertscore"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*kept, "encoder.json"])
    facts = read_json(folder / "encoder.json")
    assert sorted(facts.pop("files")) == kept
    assert facts == wanted | {"pooling": None}
    assert TextEncoder(folder, 64, NUMERICS).bert_scores(["fern tea"], ["fern tea"])[0].f1 == 0  # both weigh nothing
    assert "encoder.bertscore.layer: 3, and models/base has 2" in downloaded_encoders(
        "http://127.0.0.1:9", tmp_path, bertscore=wanted | {"layer": 3}
    )


@pytest.mark.parametrize(
    "section", [{}, {"layer": 2}, {"from": "base", "repository": "owner/model"}, {"repository": "owner/model"}]
)
def test_a_scorer_is_of_one_origin(section: dict[str, object]) -> None:
    """The Hub, whole, or the build."""
    with pytest.raises(ValidationError, match=r"or from: base; nothing else"):
        Scorer.model_validate(section)


@pytest.mark.usefixtures("encoder")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layer": 3}, "encoder.bertscore.layer: 3, and owner/model has 2"),
        (
            {"files": ["config.json", "*.safetensors"]},
            "encoder.bertscore.files: no tokenizer.json among the files taken",
        ),
        (
            {"files": ["config.json"]},
            "encoder.bertscore.files: no *.safetensors or no config.json among the files taken",
        ),
        ({"files": ["*.bin"]}, "only .safetensors, .json and chat_template.jinja are taken"),
        ({"files": ["code/*.jinja"]}, "code/*.jinja: only .safetensors"),
    ],
)
def test_an_encoder_that_could_not_be_asked_is_refused(
    address: str, tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    """Before anything is evaluated."""
    source = {"repository": "owner/model", "revision": COMMIT, "files": FILES_OF_ENCODER, "layer": None}
    assert message in downloaded_encoders(address, tmp_path, bertscore=source | changed)


def test_a_chat_template_may_be_taken() -> None:
    """Newer repositories have it in a file of its own."""
    files = ("*.safetensors", "*.json", "chat_template.jinja")
    assert ModelFiles(repository="owner/model", revision=COMMIT, files=files).files == files
