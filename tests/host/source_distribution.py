"""The host's own tests: in its source distribution, which pip fetches, and in no wheel.

python tests/host/source_distribution.py fetches them, once for each version, into the checkout's `build/`.
"""

import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath

BUILD = Path(__file__).resolve().parents[2] / "build"
COMMON = "test_modeling_common.py"


class NotFetchedError(Exception):
    """There are no tests of the host to be had; one line says why."""


def tests_folder() -> Path:
    """Where the tests of the installed transformers lie, once they were fetched."""
    return BUILD / f"transformers-{version('transformers')}-tests"


def fetch() -> Path:
    """The folder of the tests, fetched where it is not there.

    Raises:
        NotFetchedError: pip cannot fetch the source distribution, or it holds no common model tests.
    """
    folder = tests_folder()
    if folder.is_dir():
        return folder
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix=".partial-") as partial:
        archive = _download(f"transformers=={version('transformers')}", Path(partial))
        unpacked = Path(partial) / "tests"
        unpacked.mkdir()
        _unpack(archive, unpacked)
        # Last, so that a folder of that name is a whole one.
        unpacked.rename(folder)
    return folder


def _download(requirement: str, folder: Path) -> Path:
    """Have pip, by its own settings, put the source distribution of `name==version` into the folder."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    command += ["--quiet", "--no-deps", "--no-binary", "transformers", "--dest", str(folder), requirement]
    pip = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = list(folder.glob("transformers-*.tar.gz"))
    if pip.returncode == 0 and found:
        return found[0]
    said = [line for line in pip.stderr.splitlines() if line.lower().startswith("error")]
    reason = said[-1] if said else f"pip ended with code {pip.returncode}"
    raise NotFetchedError(
        f"could not fetch the source distribution of {requirement}, which holds the host's own tests:"
        f" {reason} (`pip config list` shows where pip looks)"
    )


def _unpack(archive: Path, folder: Path) -> None:
    """Put the files of the distribution's `tests` into the folder."""
    with tarfile.open(archive) as members:
        for member in members:
            parts = PurePosixPath(member.name).parts
            source = members.extractfile(member) if len(parts) == 3 and parts[1] == "tests" else None
            if source is not None:
                (folder / parts[2]).write_bytes(source.read())
    if not (folder / COMMON).is_file():
        raise NotFetchedError(f"{archive.name} holds no tests/{COMMON}, the common model tests")


if __name__ == "__main__":
    try:
        fetch()
    except NotFetchedError as error:
        sys.exit(str(error))
