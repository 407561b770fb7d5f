"""Stage download, against a Hub that serves one dataset on this machine."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.download import Download
from stages.lib.files import folder_hash
from tests.project import ENVIRONMENT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"data/train.jsonl": b'{"text": "a"}\n', "README.md": b"# cards\n", "pictures.bin": b"\0"}


class Hub(BaseHTTPRequestHandler):
    """The two requests that a snapshot needs: what is at a commit, and a file of it."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == f"/api/datasets/owner/notes/tree/{COMMIT}":
            files = [
                {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}
                for name, content in FILES.items()
            ]
            self.answer(json.dumps(files).encode())
            return
        name = path.removeprefix(f"/datasets/owner/notes/resolve/{COMMIT}/")
        self.answer(FILES.get(name))

    def answer(self, content: bytes | None) -> None:
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha1(content or b"").hexdigest()}"')
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
        cwd=Path(__file__).parents[1],
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
