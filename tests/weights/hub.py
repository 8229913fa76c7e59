"""A small Hugging Face hub on this machine, over HTTP: repositories of files, in memory.

It speaks what huggingface_hub asks of the real one to make a repository, to upload to it, large
files by git-lfs, and to download from it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_of_the_test"


class Hub(ThreadingHTTPServer):
    """What it holds: `org/name` -> commits, the last one last, each a mapping of names to bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.stored: dict[str, bytes] = {}
        self.out_of_order = False
        self.endpoint = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def commit_name(repository: str, number: int) -> str:
    return hashlib.sha1(f"{repository} {number}".encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid username or password."}, 401)
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.commits:
                return self._json({"url": f"{self.server.endpoint}/{name}"}, 409)
            self.server.commits[name] = []
            if asked.get("visibility") == "private" or asked.get("private"):
                self.server.private.add(name)
            return self._json({"url": f"{self.server.endpoint}/{name}"})
        if found := re.fullmatch(r"/api/models/(\S+)/preupload/main", self.path):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if re.fullmatch(r"/\S+\.git/info/lfs/objects/batch", self.path):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.server.endpoint}/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(\S+)/commit/main", self.path):
            return self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        return self._json({"error": "not found"}, 404)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.strip("/")
        if hashlib.sha256(content).hexdigest() != name:
            return self._json({"error": "other contents"}, 400)
        self.server.stored[name] = content
        return self._json({})

    def do_HEAD(self) -> None:
        self._resolve()

    def do_GET(self) -> None:
        self._resolve()

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        commits = self.server.commits[name]
        files = dict(commits[-1]) if commits else {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
        commits.append(files)
        made = commit_name(name, len(commits))
        address = f"{self.server.endpoint}/{name}/commit/{made}"
        self._json({"commitOid": made, "commitUrl": address})

    def _resolve(self) -> None:
        if self.server.out_of_order:
            return self._json({}, 503)
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)", self.path)
        name = found[1] if found else ""
        commits = self.server.commits.get(name, [])
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if found is None or not commits or (name in self.server.private and not known):
            return self._json({}, 401, {"X-Error-Code": "RepoNotFound"})
        names = [commit_name(name, number + 1) for number in range(len(commits))]
        wanted = names[-1] if found[2] == "main" else found[2]
        if wanted not in names:
            return self._json({}, 404, {"X-Error-Code": "RevisionNotFound"})
        content = commits[names.index(wanted)].get(found[3])
        commit = {"X-Repo-Commit": wanted}
        if content is None:
            return self._json({}, 404, {"X-Error-Code": "EntryNotFound", **commit})
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', **commit}
        return self._send(content, 200, headers)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, headers or {})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
