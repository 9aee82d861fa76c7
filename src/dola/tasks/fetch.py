"""Fetch a benchmark's file on first use, pinned by commit and by content, and keep it in dola's cache.

pooch does the download: into a temporary file beside the final place, moved there once its hash is the
pinned one. What lies in the cache is checked again at every use.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dola.errors import DataError
from dola.models.weights import cache_folder

Progress = Callable[[str], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pinned:
    """One upstream file and what its bytes must be.

    Attributes:
        name: where it lies below the cache's `data` folder.
        title: for a report.
        size_note: how much it is, in words.
        sha256: of the bytes, or None where only git's id of them is known.
        git_blob: SHA-1 of `blob <size>\\0<bytes>`.
    """

    name: str
    title: str
    url: str
    size_note: str
    licence: str
    sha256: str | None = None
    git_blob: str | None = None

    @property
    def path(self) -> Path:
        """Where the file is kept, whether it is there or not."""
        return cache_folder() / "data" / self.name

    @property
    def content_id(self) -> str:
        return f"SHA-256 {self.sha256}" if self.sha256 else f"git blob id {self.git_blob}"

    def fits(self, raw: bytes) -> bool:
        """Whether these are the pinned bytes."""
        if self.sha256:
            return hashlib.sha256(raw).hexdigest() == self.sha256
        # Git's id is no defence against a forger, only against a damaged or another file.
        blob = hashlib.sha1(b"blob %d\0" % len(raw) + raw, usedforsecurity=False)
        return blob.hexdigest() == self.git_blob


def told_to_log(line: str) -> None:
    """The progress of whoever has no better place for it."""
    _log.info(line)


def fetch(pinned: Pinned, *, option: str, progress: Progress = told_to_log) -> Path:
    """The path of the file, downloaded where the cache does not hold it whole.

    `option` is the flag that names a file of the user's own instead, for the message of a failure.

    Raises:
        DataError: it cannot be fetched or kept, or is not the pinned file; says what to put where.
    """
    path = pinned.path
    if path.is_file() and pinned.fits(path.read_bytes()):
        return path
    progress(f"fetching {pinned.title} ({pinned.size_note}; licence: {pinned.licence})")
    try:
        _download(pinned, path)
    except OSError as error:  # the network's errors (requests) are of this family too
        raise _failure(pinned, option, _reason(error)) from error
    except ValueError as error:
        # How pooch reports another hash, and requests a URL that is none.
        raise _failure(pinned, option, f"what was sent is not the pinned file ({error})") from error
    return path


def _download(pinned: Pinned, path: Path) -> None:
    import pooch  # here, since it takes a moment and most runs need no download

    pooch.get_logger().setLevel(logging.WARNING)
    path.unlink(missing_ok=True)  # without a SHA-256 pooch would keep the damaged file that is there
    sha256 = f"sha256:{pinned.sha256}" if pinned.sha256 else None
    pooch.retrieve(pinned.url, known_hash=sha256, fname=path.name, path=path.parent)
    if not pinned.fits(path.read_bytes()):
        path.unlink()
        raise ValueError(f"expected {pinned.content_id}")


def _reason(error: OSError) -> str:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if status is not None:
        return f"the server answered {status}"
    if type(error).__module__.startswith("requests"):
        return f"no connection ({type(error).__name__})"
    return str(error)


def _failure(pinned: Pinned, option: str, reason: str) -> DataError:
    return DataError(
        f"could not fetch {pinned.title} from {pinned.url}: {reason}. By hand: put that file "
        f"({pinned.size_note}, {pinned.content_id}) at {pinned.path}, or name a copy with {option}"
    )
