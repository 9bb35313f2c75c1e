"""A Hugging Face hub on this machine: what its client asks for, over HTTP."""

import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_NAME = r"(?P<name>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/]+)"
ROUTES = {
    "about": rf"/api/(models|datasets)/{_NAME}(/revision/{_REVISION})?",
    "tree": rf"/api/(models|datasets)/{_NAME}/tree/{_REVISION}(/(?P<under>.+))?",
    "file": rf"/(datasets/)?{_NAME}/resolve/{_REVISION}/(?P<file>.+)",
}


class Hub(http.server.ThreadingHTTPServer):
    """Serves folders by name, and notes what was fetched.

    Attributes:
        folders: {name: folder}.
        fetched: names of the files whose content was asked for.
        cut: names of files whose connection is closed in the middle.
    """

    daemon_threads = True

    def __init__(self, folders):
        super().__init__(("localhost", 0), _Handler)
        self.folders, self.fetched, self.cut = folders, [], set()

    @property
    def environment(self):
        """The variables that make the client ask here."""
        return {
            "HF_ENDPOINT": f"http://localhost:{self.server_port}",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }


@contextlib.contextmanager
def hub_of(folders):
    """Runs a `Hub` in a thread."""
    with Hub(folders) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            hub.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        for route, pattern in ROUTES.items():
            if found := re.fullmatch(pattern, path):
                asked = found.groupdict()
                folder = self.server.folders.get(asked["name"])
                if folder is None:  # as the real one does, if nobody is logged in
                    return self.answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
                if asked["revision"] not in (None, "main", COMMIT):
                    code = {"X-Error-Code": "RevisionNotFound"}
                    return self.answer(404, b"{}", code)
                return getattr(self, route)(folder, asked)
        return self.answer(404, b"{}")

    def about(self, folder, asked):
        files = [{"rfilename": name} for name in _names(folder)]
        found = {"id": asked["name"], "sha": COMMIT, "siblings": files}
        self.answer(200, json.dumps(found).encode())

    def tree(self, folder, asked):
        under = folder / (asked["under"] or "")
        if not under.is_dir():
            return self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        deep = "recursive=true" in self.path.lower()
        found = under.rglob("*") if deep else under.glob("*")
        rows = [_row(folder, path) for path in sorted(found)]
        self.answer(200, json.dumps(rows).encode())

    def file(self, folder, asked):
        path = folder / asked["file"]
        if not path.is_file():
            code = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
            return self.answer(404, b"", code)
        data = path.read_bytes()
        headers = {
            "ETag": f'"{_tag(data)}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if self.command == "GET":
            self.server.fetched.append(asked["file"])
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(first[1]) if first else 0
        if first:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        cut = asked["file"] in self.server.cut
        self.answer(206 if first else 200, data[begin:], headers, cut)

    def answer(self, status, data, headers=None, cut=False):
        """Sends a response; if `cut`, no more than half of what it announces."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut and self.command == "GET":
            self.close_connection = True

    def log_message(self, *words):
        pass


def _row(folder, path):
    name = str(path.relative_to(folder))
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": _tag(name.encode())}
    data = path.read_bytes()
    return {"type": "file", "path": name, "size": len(data), "oid": _tag(data)}


def _names(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files)


def _tag(data):
    return hashlib.sha1(data).hexdigest()
