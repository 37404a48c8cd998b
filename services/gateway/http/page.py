"""The page for people: static files that browsers keep for as long as they are the same.

Every file lies under an address with the hash of all files in it, so an address never changes what
it answers, and a new version is a new address. Only the document at `/` is asked for anew.
"""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

FOLDER: Final = Path(__file__).parent.parent / "page"
_DOCUMENT: Final = "index.html"
_FILES_HERE: Final = b"{files}"
# Not the system's table: it differs from machine to machine.
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# What scripts draw (echarts: canvas) and save needs no more; a style is set property by property.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file: what it is, plain and packed."""

    content_type: str
    plain: bytes
    packed: bytes

    def answer(self, request: Request, cache_control: str) -> Response:
        """The file as the request's reader takes it."""
        headers = {"cache-control": cache_control, "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(self.packed, 200, headers, media_type=self.content_type)
        return Response(self.plain, 200, headers, media_type=self.content_type)


class Page:
    """The files of a folder and the address they lie under."""

    def __init__(self, folder: Path = FOLDER) -> None:
        texts = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        digest = hashlib.sha256()
        for name, text in texts.items():
            digest.update(f"{name}\0{len(text)}\0".encode())
            digest.update(text)
        self.version = digest.hexdigest()[:16]
        texts[_DOCUMENT] = texts[_DOCUMENT].replace(_FILES_HERE, f"/page/{self.version}".encode())
        self._files = {name: _file(name, text) for name, text in texts.items()}

    def routes(self) -> list[Route]:
        """The document at `/`, and its files."""
        return [
            Route("/", self._document),
            Route(f"/page/{self.version}/{{name:path}}", self._named),
        ]

    async def _document(self, request: Request) -> Response:
        etag = f'"{self.version}"'
        headers = {"etag": etag, "content-security-policy": _POLICY}
        if request.headers.get("if-none-match") == etag:
            return Response(None, 304, {**headers, "cache-control": "no-cache"})
        answer = self._files[_DOCUMENT].answer(request, "no-cache")
        answer.headers.update(headers)
        return answer

    async def _named(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            return JSONResponse({"message": "The page has no such file."}, 404)
        return file.answer(request, "public, max-age=31536000, immutable")


def _file(name: str, text: bytes) -> PageFile:
    return PageFile(_TYPES[Path(name).suffix], text, gzip.compress(text, mtime=0))
