"""A model hub on this machine: enough of the API to list and download one repository."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["COMMIT", "fake_hub"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)


@contextmanager
def fake_hub(folder: Path, repo: str) -> Iterator[str]:
    """Serve `folder` as the model `repo`; yields the hub's address. "org/gated" is gated."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "/org/gated" in path:
                return self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            for revision in REVISIONS:
                if path == f"/api/models/{repo}/revision/{revision}":
                    return self._list()
                if path == f"/api/models/{repo}/tree/{revision}":
                    return self._list_tree()
                prefix = f"/{repo}/resolve/{revision}/"
                if path.startswith(prefix) and (folder / path.removeprefix(prefix)).is_file():
                    return self._send(folder / path.removeprefix(prefix))
            known = path.startswith((f"/api/models/{repo}/", f"/{repo}/"))
            code = "RevisionNotFound" if known else "RepoNotFound"
            return self._answer(404, b"{}", {"X-Error-Code": code})

        def _list(self) -> None:
            siblings = [{"rfilename": name} for name in self._files()]
            self._answer_json({"id": repo, "sha": COMMIT, "siblings": siblings})

        def _list_tree(self) -> None:
            """What newer clients ask for: sizes and hashes too."""
            self._answer_json(
                [
                    {
                        "type": "file",
                        "path": name,
                        "size": (folder / name).stat().st_size,
                        "oid": hashlib.sha1((folder / name).read_bytes()).hexdigest(),
                    }
                    for name in self._files()
                ]
            )

        def _files(self) -> list[str]:
            return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())

        def _answer_json(self, value: object) -> None:
            self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _send(self, path: Path) -> None:
            data = path.read_bytes()
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            self._answer(200, data, {"ETag": etag, "X-Repo-Commit": COMMIT})

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
