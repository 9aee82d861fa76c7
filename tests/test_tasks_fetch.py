"""A benchmark's file arrives whole and as pinned, or not at all, and a failure says what to put where."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dola.errors import DataError
from dola.tasks import prompts, truthfulqa
from dola.tasks.fetch import Pinned, fetch
from dola.tasks.sources import FACTOR, GSM8K, PROMPT_SCRIPTS, STRATEGYQA, TRUTHFULQA, VICUNA
from dola.tasks.tfqa_mc import TruthfulQAMC

DATA = Path(__file__).parent / "data"
CONTENT = b"Question\nIs a bat a bird?\n"


@dataclass
class Upstream:
    """A server on this machine: what it answers to every request, and how often it was asked."""

    url: str = ""
    status: int = 200
    content: bytes = CONTENT
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    answer = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer.asked.append(self.path)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    answer.url = f"http://127.0.0.1:{server.server_port}/quiz.csv"
    yield answer
    server.shutdown()
    thread.join()
    server.server_close()


def pinned(upstream: Upstream, content: bytes = CONTENT) -> Pinned:
    sha256 = hashlib.sha256(content).hexdigest()
    return Pinned("quiz/quiz.csv", "the quiz", upstream.url, "1 question", "CC0-1.0", sha256=sha256)


def git_pinned(upstream: Upstream, content: bytes = CONTENT) -> Pinned:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return replace(pinned(upstream), sha256=None, git_blob=blob)


WAYS = pytest.mark.parametrize("way", [pinned, git_pinned], ids=["sha256", "git blob id"])


@WAYS
def test_a_file_is_fetched_once_and_then_read_from_the_cache(way, upstream: Upstream, tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        path = fetch(way(upstream), option="--data-path", progress=told.append)
        assert path == tmp_path / "cache" / "data" / "quiz" / "quiz.csv"
        assert path.read_bytes() == CONTENT
    assert len(upstream.asked) == 1
    assert told == ["fetching the quiz (1 question; licence: CC0-1.0)"]


@WAYS
def test_a_damaged_file_in_the_cache_is_fetched_again(way, upstream: Upstream) -> None:
    path = fetch(way(upstream), option="--data-path")
    path.write_bytes(CONTENT[:-3])
    assert fetch(way(upstream), option="--data-path").read_bytes() == CONTENT
    assert len(upstream.asked) == 2


@WAYS
def test_another_file_than_the_pinned_one_is_refused_and_not_kept(way, upstream: Upstream) -> None:
    upstream.content = b"<html>moved</html>"
    with pytest.raises(DataError, match="not the pinned file"):
        fetch(way(upstream), option="--data-path")
    folder = way(upstream).path.parent
    assert list(folder.iterdir()) == []


@WAYS
def test_a_failure_says_why_and_what_to_put_where(way, upstream: Upstream) -> None:
    upstream.status = 404
    entry = way(upstream)
    with pytest.raises(DataError, match="the server answered 404") as caught:
        fetch(entry, option="--prompts")
    for part in (entry.url, entry.content_id, str(entry.path), "--prompts"):
        assert part in str(caught.value)


def test_no_network_is_told_from_a_refusal(upstream: Upstream) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = replace(pinned(upstream), url=f"http://127.0.0.1:{free.getsockname()[1]}/quiz.csv")
    with pytest.raises(DataError, match="no connection"):
        fetch(closed, option="--data-path")


def test_a_file_put_there_by_hand_is_taken_without_a_network(upstream: Upstream) -> None:
    entry = pinned(upstream)
    entry.path.parent.mkdir(parents=True)
    entry.path.write_bytes(CONTENT)
    assert fetch(entry, option="--data-path") == entry.path
    assert upstream.asked == []


def test_a_cache_that_cannot_be_written_is_named(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="could not fetch the quiz"):
        fetch(pinned(upstream), option="--data-path")


def test_a_task_without_a_data_path_fetches_the_version_asked_for(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.content = (DATA / "truthfulqa" / "TruthfulQA-2025.csv").read_bytes()
    monkeypatch.setitem(truthfulqa.TRUTHFULQA, "2025", pinned(upstream, upstream.content))
    task = TruthfulQAMC(prompts.load_demonstrations("tfqa", DATA / "prompts"))
    data = task.load(version="2025")
    assert (len(data.examples), data.source) == (3, "the quiz")
    assert data.sha256 == hashlib.sha256(upstream.content).hexdigest()


def test_every_source_is_pinned_by_its_content() -> None:
    entries = [*TRUTHFULQA.values(), *FACTOR.values(), *PROMPT_SCRIPTS.values()]
    for entry in (*entries, *GSM8K.values(), *STRATEGYQA, *VICUNA.values()):
        assert len(entry.sha256 or "") == 64 or len(entry.git_blob or "") == 40
        assert entry.url.startswith("https://")


def test_the_pins_are_those_of_the_benchmark_files(shared: Path) -> None:
    entries = [*TRUTHFULQA.values(), FACTOR["expert"], FACTOR["news"], *GSM8K.values(), *VICUNA.values()]
    for entry in entries:
        assert entry.fits((shared / "data" / entry.name).read_bytes())
    for name, entry in PROMPT_SCRIPTS.items():
        assert str(entry.sha256) in (shared / "data" / "prompts" / f"{name}.json").read_text(encoding="utf-8")
