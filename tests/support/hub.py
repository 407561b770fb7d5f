"""A Hub on this machine: what is at a commit of a dataset, and each file of it."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = (".parquet", ".jsonl")  # files whose ETag is their sha256


@contextmanager
def served(datasets: Mapping[tuple[str, str], Mapping[str, bytes]]) -> Iterator[str]:
    """The address of a Hub with these datasets, (repository, commit) -> path -> content."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            for (repository, commit), files in datasets.items():
                if path == f"/api/datasets/{repository}/tree/{commit}":
                    listing = [
                        {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}
                        for name, content in files.items()
                    ]
                    return self.answer(json.dumps(listing).encode(), commit)
                if path.startswith(place := f"/datasets/{repository}/resolve/{commit}/"):
                    return self.answer(files.get(path.removeprefix(place)), commit)
            return self.answer(None, "")

        def answer(self, content: bytes | None, commit: str) -> None:
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("X-Repo-Commit", commit)
            digest = sha256 if self.path.endswith(LARGE) else sha1
            self.send_header("ETag", f'"{digest(content or b"").hexdigest()}"')
            self.end_headers()
            if content and self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
