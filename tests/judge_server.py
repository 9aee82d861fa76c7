"""A judge on loopback: a real HTTP server that speaks the protocol, and misbehaves where it is told to.

    with JudgeServer() as server:
        server.misbehave("429", "cut")            # the next two requests, one each; then it behaves again
        endpoint_settings(base_url=server.base_url, ...)
    assert server.count("completions") == 3       # every request that arrived, the refused ones too

What it answers: `server.completion(prompt)` gives the top log-probabilities, `server.chat(messages)` a text;
replace them. Files and fine-tuning jobs are stubs: a job runs, and has succeeded when it is looked at again.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

# What a request can be made to meet: `slow:SECONDS` waits and then answers, `cut` sends half an answer and
# hangs up, `lost` does so once what was asked for is done, `invalid_json` sends text that is none,
# `malformed` JSON without what was asked for, `html` a page, `echo_key` refuses the key and repeats it.
_STATUS = {"429": 429, "500": 500, "503": 503, "400": 400, "401": 401, "404": 404}


@dataclass(frozen=True)
class Received:
    """A request as it arrived; header names in small letters, `body` bytes where it was no JSON."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Raw:
    """An answer byte by byte: an object is sent as JSON; pieces one after the other, `pause` seconds apart,
    with no length told."""

    status: int
    content: bytes | dict[str, Any] | list[Any] | Iterable[bytes]
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0


class JudgeServer:
    """The server, in a thread of its own between `__enter__` and `__exit__`."""

    def __init__(self, *, retry_after: float = 0.02, delay: float = 0.0) -> None:
        self.completion: Callable[[str], dict[str, float]] = _yes
        self.chat: Callable[[list[dict[str, str]]], str] = lambda messages: "The answer is 42."
        # Where it gives something, that is sent, whatever else was scripted.
        self.raw: Callable[[Received], Raw | None] = lambda received: None
        # Where it gives something, that is met, as by `misbehave`.
        self.fails: Callable[[Received], str | None] = lambda received: None
        self.requests: list[Received] = []
        self.uploaded: list[bytes] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.most_at_once = 0
        self.retry_after = retry_after
        self.delay = delay
        self._script: deque[str] = deque()
        self._always: str | None = None
        self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"judge": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def misbehave(self, *how: str) -> None:
        """What the next requests meet, one each: `ok`, `429`, `500`, `slow:1.5`, `cut`, `lost`,
        `invalid_json`, `malformed`, `html`, `echo_key`, or another status of `_STATUS`."""
        self._script.extend(how)

    def misbehave_always(self, how: str | None) -> None:
        """What every request meets from now on; None: it behaves."""
        self._always = how

    def count(self, path: str = "") -> int:
        """How many requests arrived whose path ends so."""
        return sum(request.path.endswith(path) for request in self.requests)

    def prompts(self) -> list[str]:
        """The prompts of all completions asked for, in the order in which they arrived."""
        return [one.body["prompt"] for one in self.requests if one.path.endswith("/v1/completions")]

    # What a request goes through.

    def _arrived(self, received: Received) -> str:
        with self._lock:
            self.requests.append(received)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            if self._script:
                return self._script.popleft()
            return self._always or "ok"

    def _left(self) -> None:
        with self._lock:
            self._now -= 1

    def answered(self, received: Received) -> dict[str, Any]:
        """What it answers where it behaves, for a `raw` that changes it."""
        return self._answer(received) or {}

    def _answer(self, received: Received) -> dict[str, Any] | None:
        """The reply of a server that behaves; None: no such page."""
        body, path = received.body, received.path.removeprefix("/v1/")
        asked = path.partition("?")[0]
        if received.method == "POST" and asked == "completions":
            return _completion(body, self.completion(body["prompt"]))
        if received.method == "POST" and asked == "chat/completions":
            return _chat_completion(body, self.chat(body["messages"]))
        if path.split("/")[0] == "files":
            return self._file(received)
        if path.startswith("fine_tuning/jobs"):
            return self._job(received, path)
        return None

    def _file(self, received: Received) -> dict[str, Any]:
        if received.method == "POST":
            self.uploaded.append(received.body)
        number = received.path.rpartition("-")[2] if received.method == "GET" else len(self.uploaded)
        return {
            "id": f"file-{number}",
            "object": "file",
            "bytes": 1,
            "created_at": 0,
            "filename": "data.jsonl",
            "purpose": "fine-tune",
            "status": "processed",
        }

    def _job(self, received: Received, path: str) -> dict[str, Any] | None:
        if received.method == "POST" and path == "fine_tuning/jobs":
            job = {
                "id": f"ftjob-{len(self.jobs) + 1}",
                "object": "fine_tuning.job",
                "created_at": 0,
                "finished_at": None,
                "fine_tuned_model": None,
                "hyperparameters": {"n_epochs": "auto"},
                "model": received.body["model"],
                "organization_id": "org-test",
                "result_files": [],
                "seed": 0,
                "status": "queued",
                "trained_tokens": None,
                "training_file": received.body["training_file"],
                "validation_file": received.body.get("validation_file"),
                "error": None,
            }
            self.jobs[job["id"]] = job
            return job
        if path.partition("?")[0] == "fine_tuning/jobs":
            return {"object": "list", "data": list(self.jobs.values())[::-1], "has_more": False}
        job = self.jobs.get(path.split("/")[2]) if path.count("/") >= 2 else None
        if job is None:
            return None
        if path.endswith("/events"):
            return {"object": "list", "data": [], "has_more": False}
        if job["status"] == "queued":
            job["status"] = "running"
        elif job["status"] == "running":
            job |= {"status": "succeeded", "fine_tuned_model": f"ft:{job['model']}:test", "finished_at": 1}
        return job


class _Handler(BaseHTTPRequestHandler):
    judge: JudgeServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = "json" in (self.headers.get("Content-Type") or "")
        self._handle(json.loads(content) if is_json and content else content)

    def do_GET(self) -> None:
        self._handle(b"")

    def _handle(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        received = Received(self.command, self.path, headers, body)
        how = self.judge._arrived(received)
        how = self.judge.fails(received) or how
        try:
            time.sleep(self.judge.delay)
            self._reply(how, received)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client's patience was at an end
        finally:
            self.judge._left()

    def _reply(self, how: str, received: Received) -> None:
        raw = self.judge.raw(received)
        if raw is not None:
            self._send_raw(raw)
            return
        if how.startswith("slow:"):
            time.sleep(float(how.removeprefix("slow:")))
        if how in _STATUS:
            self._send(_STATUS[how], _error(f"scripted {how}"))
        elif how == "echo_key":
            self._send(401, _error(f"Incorrect API key: {received.headers['authorization']}"))
        elif how in ("cut", "lost"):
            if how == "lost":
                self.judge._answer(received)
            self._send(200, {"choices": []}, promised=1000)
        elif how == "invalid_json":
            self._send(200, "{this is no JSON")
        elif how == "html":
            self._send(200, "<html>Sign in</html>", kind="text/html")
        elif how == "malformed":
            self._send(200, {"id": "x", "object": "text_completion", "choices": []})
        else:
            answer = self.judge._answer(received)
            self._send(200 if answer else 404, answer or _error("no such page"))

    def _send_raw(self, raw: Raw) -> None:
        content = json.dumps(raw.content).encode() if isinstance(raw.content, dict | list) else raw.content
        self.send_response(raw.status)
        for name, value in {"Content-Type": "application/json", **raw.headers}.items():
            self.send_header(name, value)
        if isinstance(content, bytes):
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        for piece in [content] if isinstance(content, bytes) else content:
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(raw.pause)

    def _send(self, status: int, answer: Any, *, promised: int = 0, kind: str = "application/json") -> None:
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(promised or len(content)))
        if status in (429, 500, 503):
            self.send_header("Retry-After", str(self.judge.retry_after))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        if promised:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the library)
        """Nothing: the test looks at what arrived."""


def _yes(prompt: str) -> dict[str, float]:
    """The same prompt always gets the same probability of yes."""
    p = 0.05 + 0.9 * (sum(prompt.encode()) % 97) / 96
    return {" yes": math.log(p), " no": math.log(1 - p)}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "scripted", "code": None, "param": None}}


def _completion(body: Any, logprobs: dict[str, float]) -> dict[str, Any]:
    best = max(logprobs, key=lambda token: logprobs[token])
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "text": best,
                "finish_reason": "length",
                "logprobs": {
                    "tokens": [best],
                    "token_logprobs": [logprobs[best]],
                    "top_logprobs": [logprobs],
                    "text_offset": [0],
                },
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _chat_completion(body: Any, text: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
