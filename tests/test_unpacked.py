"""The unpacked copy of an embedded model is used as it was written, or made again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from dola.models import unpacked
from dola.models.aliases import ALIASES

FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
SUMS = "checksums.json"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Where copies have been made since."""
    monkeypatch.setenv("DOLA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(unpacked, "fetch", lambda alias, progress: tmp_path / f"{alias}.gguf")
    calls: list[Path] = []

    def write(_: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in FILES:
            (folder / name).write_text(f"the {name} of the copy")
        calls.append(folder)

    monkeypatch.setattr(unpacked, "_write", write)
    return calls


def use() -> Path:
    return unpacked.unpacked_folder(ALIASES["smollm2"], progress=lambda _: None)


def resum(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    sums = json.loads((folder / SUMS).read_text())
    (folder / SUMS).write_text(json.dumps(change(sums)))


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def emptied_consistently(folder: Path) -> None:
    empty(folder)
    (folder / SUMS).write_text("{}")


def without_weights_consistently(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    resum(folder, lambda sums: {name: digest for name, digest in sums.items() if "model" not in name})


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("not a folder")


def a_link(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    (folder.with_name("elsewhere") / "config.json").write_text("other")
    folder.symlink_to("elsewhere")


def changed_within_its_size(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text().swapcase())


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no sums said": lambda at: (at / SUMS).write_text("{}"),
    "sums that are a list": lambda at: (at / SUMS).write_text("[]"),
    "sums that are text": lambda at: (at / SUMS).write_text('"x"'),
    "sums without end": lambda at: (at / SUMS).write_text("[" * 100_000),
    "sums of other bytes": lambda at: (at / SUMS).write_bytes(b"\xff\x00"),
    "other sums": lambda at: resum(at, lambda sums: dict.fromkeys(sums, sha256(b"").hexdigest())),
    "sums that are no text": lambda at: resum(at, lambda sums: {name: [] for name in sums}),
    "a file not summed": lambda at: resum(at, lambda sums: {k: v for k, v in sums.items() if k[0] != "g"}),
    "a summed file not there": lambda at: resum(at, lambda sums: {**sums, "x.json": sha256(b"").hexdigest()}),
    "a sum of a file elsewhere": lambda at: resum(
        at, lambda sums: {**sums, os.devnull: sha256(b"").hexdigest()}
    ),
    "emptied": empty,
    "emptied, and the sums with it": emptied_consistently,
    "no weights, and no sum of them": without_weights_consistently,
    "an empty file": lambda at: (at / "model.safetensors").write_bytes(b""),
    "a cut file": lambda at: (at / "model.safetensors").write_text("the"),
    "a changed file": changed_within_its_size,
    "a missing file": lambda at: (at / "tokenizer.json").unlink(),
    "a shard beside": lambda at: (at / "model-00001-of-00002.safetensors").write_text("x"),
    "an index beside": lambda at: (at / "model.safetensors.index.json").write_text("{}"),
    "an adapter beside": lambda at: (at / "adapter_config.json").write_text("{}"),
    "a template beside": lambda at: (at / "chat_template.jinja").write_text("x"),
    "a folder beside": lambda at: (at / "additional_chat_templates").mkdir(),
    "a file in its place": a_file,
    "a link in its place": a_link,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_copy_that_is_not_as_it_was_written_is_made_again(made: list[Path], damage: str) -> None:
    folder = use()
    DAMAGES[damage](folder)
    assert use() == folder
    assert len(made) == 2
    assert {name: (folder / name).read_text() for name in FILES} == {
        name: f"the {name} of the copy" for name in FILES
    }
    assert {path.name for path in folder.iterdir()} == {*FILES, SUMS}
    use()
    assert len(made) == 2


def test_a_whole_copy_is_made_once(made: list[Path]) -> None:
    folder = use()
    (folder / ".DS_Store").write_text("what a file manager leaves")
    assert [use(), use()] == [folder, folder]
    assert len(made) == 1
