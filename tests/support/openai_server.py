"""A small server of OpenAI's chat and text completions, streaming, for load generators.

`python -m tests.support.openai_server PORT` answers each request with as many tokens as it asks
for, the first after 20 ms and each further one after 2 ms. Nothing is generated.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

MODEL: Final = "test/llama-8b"
FIRST_TOKEN_SECONDS: Final = 0.020
TOKEN_SECONDS: Final = 0.002
_WORD: Final = " token"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Says that it is well, and which model there is."""
        if self.path.startswith("/v1/models"):
            self._answer({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._answer({})

    def do_POST(self) -> None:
        """Answers a completion, all at once or token by token."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        count = int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 16)
        is_chat = "chat" in self.path
        usage = {
            "prompt_tokens": _prompt_tokens(asked),
            "completion_tokens": count,
            "total_tokens": _prompt_tokens(asked) + count,
        }
        time.sleep(FIRST_TOKEN_SECONDS)
        if not asked.get("stream"):
            self._answer(_choice(is_chat, _WORD * count, whole=True) | {"usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(count):
            if number:
                time.sleep(TOKEN_SECONDS)
            self._event(json.dumps(_choice(is_chat, _WORD)))
        self._event(json.dumps(_choice(is_chat, "", ends=True)))
        self._event(json.dumps({"id": "1", "model": MODEL, "choices": [], "usage": usage}))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(
        self,
        format: str,  # noqa: A002
        *args: object,
    ) -> None:
        """Keeps quiet."""

    def _answer(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _event(self, data: str) -> None:
        content = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")


def _prompt_tokens(asked: dict[str, Any]) -> int:
    return len(json.dumps(asked.get("messages") or asked.get("prompt") or "").split())


def _choice(is_chat: bool, text: str, *, whole: bool = False, ends: bool = False) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length" if whole or ends else None}
    if is_chat:
        choice["message" if whole else "delta"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    kind = "chat.completion" if is_chat else "text_completion"
    chunk = ".chunk" if is_chat and not whole else ""
    return {"id": "1", "object": kind + chunk, "created": 1, "model": MODEL, "choices": [choice]}


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


def server(port: int = 0) -> ThreadingHTTPServer:
    """A server on loopback that does not serve yet."""
    return _Server(("127.0.0.1", port), _Handler)


if __name__ == "__main__":
    server(int(sys.argv[1])).serve_forever()
