"""What `dola tune` tries of a strategy: the strategy says it, no preset changes it, and what is printed gives
the strategy that was measured."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dola import SLED, Contrast, ResolvedStrategy, Strategy, StrategyError
from dola.cli.main import dola
from dola.runs.asked_strategies import ContrastSettings
from dola.strategies import (
    OWN,
    DeLTa,
    Depth,
    Depths,
    DoLa,
    DoLaStatic,
    Vanilla,
    find_strategy,
    grid_texts,
    parse_strategy,
    registry,
)
from fake_completions import fake_generator
from fake_scoring import DEPTH, fake_model
from test_third_party_strategies import Mean

DATA = Path(__file__).parent / "data"
PROMPTS = ["--prompts", str(DATA / "prompts")]
COMMANDS = {
    "tfqa-mc": ["tune", "tfqa-mc", "--data-path", str(DATA / "truthfulqa"), *PROMPTS],
    "gsm8k": ["tune", "gsm8k", "--data-path", str(DATA / "gsm8k" / "gsm8k_test.jsonl"), *PROMPTS],
}


def run(task: str, *arguments: str) -> Result:
    with fake_model(), fake_generator():
        return CliRunner().invoke(
            dola, [*COMMANDS[task], *arguments], prog_name="dola", env={"COLUMNS": "100"}
        )


def tuned(output: Path, task: str, *arguments: str) -> tuple[Result, dict[str, Any]]:
    """What the command said, and our part of its result."""
    result = run(task, "--output-path", str(output), *arguments)
    assert result.exit_code == 0, result.output
    return result, json.loads(output.read_text())["dola"]


def refused(task: str, *arguments: str) -> str:
    result = run(task, *arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.mark.parametrize("kind", [DoLa, DoLaStatic, SLED, DeLTa])
def test_a_grid_is_a_dozen_at_most_distinct_and_right_at_every_depth(kind: type[Strategy]) -> None:
    for tied in (False, True):
        for layers in (*range(6, 50), 60, 80, 126):
            depths = {OWN: Depth(layers, tied)}
            grid = list(kind.tuning_grid(depths))
            texts = grid_texts(kind, depths)
            assert [parse_strategy(text) for text in texts] == grid
            resolved = [each.resolve(depths) for each in grid]
            assert 1 < len({each.text for each in resolved}) == len(grid) <= 12
            assert not any(each.plain for each in resolved)


def test_what_is_tried_is_told_in_the_strategys_own_terms() -> None:
    expected = {
        "dola": ["low", "high"],
        "static": [f"{layer},-1" for layer in range(0, 32, 3)],
        "sled": [
            f"sled:{layers}:{pair}"
            for layers in ("low", "high", "all")
            for pair in ("rate=1.75,scale=5", "rate=2,scale=10", "rate=2.5,scale=75")
        ],
        "delta": [f"delta:M={first},L={read}" for first in (30, 28, 24, 16) for read in (33, 34, 36)],
    }
    for name, texts in expected.items():
        assert grid_texts(find_strategy(name), {OWN: Depth(32, tied_embeddings=False)}) == texts


def test_beyond_40_layers_dola_has_the_papers_buckets_of_20() -> None:
    buckets = [range(0, 20, 2), range(20, 40, 2), range(40, 48, 2)]
    texts = grid_texts(DoLa, {OWN: Depth(48, tied_embeddings=False)})
    assert texts == [",".join(map(str, [*bucket, 48])) for bucket in buckets]


def test_sled_tries_no_bucket_that_a_shallow_model_lacks() -> None:
    depths = {OWN: Depth(4, tied_embeddings=True)}
    grid = SLED.tuning_grid(depths)
    assert {each.layers_text() for each in grid} == {"high", "all"}
    assert all(each.resolve(depths).candidates for each in grid)


@pytest.mark.parametrize("preset", ["released", "own"])
@pytest.mark.parametrize(("task", "name"), [("tfqa-mc", "sled"), ("tfqa-mc", "delta"), ("gsm8k", "sled")])
def test_every_try_is_measured_as_said_and_what_is_pasted_is_what_was_measured(
    task: str, name: str, preset: str, tmp_path: Path
) -> None:
    output, page = tmp_path / "t.json", tmp_path / "t.html"
    said, ours = tuned(output, task, "--strategy", name, "--preset", preset)
    texts = grid_texts(find_strategy(name), {OWN: DEPTH})
    rows = ours["rows"][1 : 1 + len(texts)]
    tuning = ours["tuning"]
    assert [bucket["row"] for bucket in tuning["buckets"]] == list(range(1, 1 + len(texts)))
    for text, bucket, row in zip(texts, tuning["buckets"], rows, strict=True):
        settings = text.rpartition(":")[2].split(",")
        # What is tuned was measured, whatever the preset, and the table says all of it.
        assert set(settings) <= set(bucket["flag"].rpartition(":")[2].split(","))
        assert set(settings) <= set(re.split(r"[:, ()]+", row["label"]))
        measured = ours["strategies"][row["strategy"]]["spec"]
        assert str(parse_strategy(bucket["flag"]).resolve({OWN: DEPTH}).strategy) == measured
        for other in ("released", "own"):
            pasted = ContrastSettings(other, None, None, None, None, None).strategies([bucket["flag"]], task)
            assert pasted[0][1] == parse_strategy(bucket["flag"])
    # The last line is the winner's, and the report has it too.
    flag = said.stdout.rstrip().splitlines()[-1]
    (winner,) = (each for each in tuning["buckets"] if rows[each["row"] - 1]["label"] == tuning["chosen"])
    assert shlex.split(flag) == ["--early-exit-layers", winner["flag"]]
    assert f"{len(texts)} strategies to try beside vanilla: " in said.stderr.splitlines()[0]
    if preset == "released":
        assert run_report(output, page).count(flag) == 1
    assert not output.with_name("t.json.svg").exists()


def run_report(output: Path, page: Path) -> str:
    assert CliRunner().invoke(dola, ["report", str(output), "-o", str(page)]).exit_code == 0
    return page.read_text()


def test_dola_by_its_name_is_what_is_tuned_with_nothing_said(tmp_path: Path) -> None:
    default, ours = tuned(tmp_path / "a.json", "tfqa-mc")
    named, other = tuned(tmp_path / "b.json", "tfqa-mc", "--strategy", "dola")
    assert (default.stdout, ours["tuning"]) == (named.stdout, other["tuning"])
    assert list(ours["tuning"]["static"]) == [str(layer) for layer in range(8)]
    assert "2 strategies to try beside vanilla and 8 static layers: all from the same" in default.stderr
    _, generated = tuned(tmp_path / "g.json", "gsm8k", "--strategy", "dola")
    assert [row["label"] for row in generated["rows"]] == ["vanilla", "low (released)", "high (released)"]


def test_a_list_of_ones_own_is_tried_instead(tmp_path: Path) -> None:
    given = ["--early-exit-layers", "low", "--bucket", "sled:high:rate=2.5", "--early-exit-layers", "3,-1"]
    said, ours = tuned(tmp_path / "t.json", "gsm8k", *given)
    labels = ["vanilla", "low (released)", "sled:high (released, rate=2.5)", "3,-1 (released)"]
    assert [row["label"] for row in ours["rows"]] == labels
    assert "3 strategies to try beside vanilla: each generates all completions anew" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--strategy", "sled", "--bucket", "low"],
            "--strategy sled says what to try, and so does --bucket low",
        ),
        (["--strategy", "vanilla"], "--strategy vanilla: vanilla is what all are compared with"),
        (["--strategy", "sled:low"], "expected a name alone"),
        (["--strategy", "low"], "given as --bucket low"),
        (["--strategy", "sledd"], "Did you mean 'sled'?"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(arguments: Sequence[str], told: str) -> None:
    assert told in refused("tfqa-mc", *arguments)


@dataclass(frozen=True)
class Sharpened(Vanilla):
    """A third party's, with settings alone, which says nothing of what to try."""

    power: float = 3.0

    def resolve(self, depths: Depths) -> ResolvedStrategy:
        last = depths[OWN].last
        return ResolvedStrategy(
            self, (last,), lambda tile: Contrast(self.power * tile.logits(last)), normalised=False
        )


@dataclass(frozen=True)
class Swept(Sharpened):
    """One that says it: a power of 3 is its default, and is said all the same."""

    @classmethod
    def tuning_grid(cls, depths: Depths) -> list[Strategy]:
        return [cls(power=power) for power in (2.0, 3.0)]


@dataclass(frozen=True)
class Demanding(Sharpened):
    """One that needs a setting and says nothing of what to try."""

    base: float = field(kw_only=True)


@dataclass(frozen=True)
class Needing(DoLa):
    """It inherits a grid that cannot give what it needs."""

    share: float = field(kw_only=True)


def test_a_third_partys_grid_is_its_own_or_itself_with_its_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, kind in {"mean": Mean, "sharp": Sharpened, "swept": Swept}.items():
        monkeypatch.setitem(registry._OWN, name, kind)
    depths = {OWN: DEPTH}
    assert grid_texts(Mean, depths) == ["mean:low", "mean:high"]
    assert grid_texts(Sharpened, depths) == ["sharp:-1"]
    assert grid_texts(Swept, depths) == ["swept:-1:power=2", "swept:-1:power=3"]
    said, ours = tuned(tmp_path / "t.json", "tfqa-mc", "--strategy", "swept")
    labels = ["vanilla", "swept:-1:power=2", "swept:-1:power=3"]
    assert [row["label"] for row in ours["rows"][:3]] == labels
    assert said.stdout.rstrip().splitlines()[-1] == f"--early-exit-layers {ours['tuning']['chosen']}"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Demanding, "Demanding does not say what to try (tuning_grid), and needs base: name what to choose"),
        (Needing, "Needing.tuning_grid cannot be made: "),
    ],
)
def test_a_strategy_whose_grid_cannot_be_made_says_so(kind: type[Strategy], told: str) -> None:
    with pytest.raises(StrategyError, match=re.escape(told)):
        grid_texts(kind, {OWN: DEPTH})


@pytest.mark.parametrize(("grid", "found"), [([], "none"), ([SLED(), "low"], "'low'")])
def test_a_grid_of_something_else_is_told(
    grid: list[Any], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Swept, "tuning_grid", classmethod(lambda _kind, _depths: grid))
    with pytest.raises(StrategyError, match=f"Swept.tuning_grid must give strategies, found {found}"):
        grid_texts(Swept, {OWN: DEPTH})
