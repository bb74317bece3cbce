"""A server on this machine that speaks as much of the hub's protocol as a download uses, and misbehaves as told."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Files by "user/repo/name" (the hub) or "/path" (anything else), and the faults that the next answers have, in order.

    A fault is ("cut", bytes sent), ("stall", bytes sent, seconds), ("status", code, headers), ("body", other bytes) or
    ("redirect", location); content requests take one from `faults`, questions about files one from `head_faults`.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: deque[tuple] = deque()
        self.head_faults: deque[tuple] = deque()
        self.seen: list[tuple[str, str, dict[str, str]]] = []   # method, path, headers in small letters
        self.ranges = True
        self.etags = True
        self.lengths = True
        self.page_size = 2
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.other_url = f"http://localhost:{self.server_port}"   # the same server under another name: the store of large files
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name: str, content: bytes) -> str:
        """Offer `content`, return its SHA-256."""
        self.files[name] = content
        return hashlib.sha256(content).hexdigest()

    def requests(self, method: str, part: str = "") -> list[dict[str, str]]:
        """Headers of the requests with `part` in their path."""
        return [headers for m, path, headers in self.seen if m == method and part in path]


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(self.server.head_faults)

    def do_GET(self) -> None:
        self._answer(self.server.head_faults if self.path.startswith("/api/") else self.server.faults)

    def _answer(self, faults: deque[tuple]) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        try:
            moves = "/resolve/" in path and self.command == "GET"   # the fault belongs to where it leads
            fault = faults.popleft() if faults and not moves else ()
            if fault[:1] == ("status",):
                self._reply(fault[1], b"no", fault[2] if len(fault) > 2 else {})
            elif fault[:1] == ("redirect",):
                self._reply(302, b"", {"Location": fault[1]})
            elif path.startswith("/api/models/"):
                self._tree(path.removeprefix("/api/models/").removesuffix("/tree/main"), fault)
            elif "/resolve/" in path:
                self._resolve(path, fault)
            else:
                content = self.server.files.get(path) or self._store(path)
                self._content(content, fault) if content is not None else self._reply(404, b"")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _store(self, path: str) -> bytes | None:
        wanted = path.removeprefix("/store/")
        return next((c for c in self.server.files.values() if hashlib.sha256(c).hexdigest() == wanted), None)

    def _resolve(self, path: str, fault: tuple) -> None:
        if fault[:1] == ("stall",):
            time.sleep(fault[2])
        repo, _, rest = path[1:].partition("/resolve/")
        content = self.server.files.get(f"{repo}/{rest.split('/', 1)[1]}")
        if content is None:
            known = any(name.startswith(f"{repo}/") for name in self.server.files)
            self._reply(404 if known else 401, b"", {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})
            return
        digest = hashlib.sha256(content).hexdigest()
        self._reply(302, b"", {
            "X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"',
            "Location": f"{self.server.other_url}/store/{digest}?signature=secret",
        })  # fmt: skip

    def _tree(self, repo: str, fault: tuple) -> None:
        names = [name.removeprefix(f"{repo}/") for name in self.server.files if name.startswith(f"{repo}/")]
        if not names:
            self._reply(401, b"", {"X-Error-Code": "RepoNotFound"})
            return
        first = int(urlsplit(self.path).query.partition("cursor=")[2] or 0)
        page = [{"type": "file", "path": name, "size": 1} for name in names[first : first + self.server.page_size]]
        page.append({"type": "directory", "path": "folder.gguf"})
        more = first + self.server.page_size < len(names)
        link = f'<{self.server.url}/api/models/{repo}/tree/main?recursive=true&cursor={first + self.server.page_size}>; rel="next"'
        self._reply(200, fault[1] if fault else json.dumps(page).encode(), {"Link": link} if more else {})

    def _content(self, content: bytes, fault: tuple) -> None:
        kind = fault[0] if fault else ""
        if kind == "body":
            content = fault[1]
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start, wanted = 0, self.headers.get("Range", "")
        if wanted and self.server.ranges and self.headers.get("If-Range", etag) == etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(content):
            self._reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.etags:
            self.send_header("ETag", etag)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        stop = start + fault[1] if kind in ("cut", "stall") else len(content)
        self.wfile.write(content[start:stop])
        if kind == "stall":
            self.wfile.flush()
            time.sleep(fault[2])
            self.wfile.write(content[stop:])

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
