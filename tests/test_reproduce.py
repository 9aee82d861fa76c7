"""The paper's figures, docs/reproduce.md and recipes/ say the same, and every command in them parses."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from dola.cli.main import dola
from dola.reports.paper import BENCHMARKS, MODELS, VANILLA, all_figures, decodings, figures, model_named

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.sh"))
DOCUMENT = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
# Those that choose or sweep layers, where the others name the paper's.
CHOOSING = ("static-tfqa-mc", "static-gsm8k", "tune-gsm8k")
KINDS = (*BENCHMARKS, "vicuna", *CHOOSING)


def commands_in_document() -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(r"^    (dola (?:eval|tune|judge) .*)$", DOCUMENT, re.M)]


def commands_of(recipe: Path) -> list[list[str]]:
    """The commands of a recipe, by running it with a `dola` that writes its arguments down."""
    program = 'dola() { printf "%s\\0" dola "$@"; printf "\\n"; }\n' + recipe.read_text(encoding="utf-8")
    ran = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True, env={})
    return [line.rstrip("\0").split("\0") for line in ran.stdout.splitlines()]


def parsed(arguments: list[str]) -> click.Context:
    """The command's options as click reads them; nothing is run."""
    command: click.Command = dola
    context = dola.make_context("dola", arguments[1:])
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)
    return context


def of(recipe: Path) -> tuple[str, str]:
    """The benchmark and the model that a recipe's name says."""
    kind, _, size = recipe.stem.rpartition("-")
    return kind, f"llama-{size}"


def layers(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def test_there_is_one_recipe_for_each_benchmark_and_model() -> None:
    assert {of(recipe) for recipe in RECIPES} == {(kind, model) for kind in KINDS for model in MODELS}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_every_command_of_a_recipe_parses(recipe: Path) -> None:
    commands = commands_of(recipe)
    assert len(commands) >= 2
    for command in commands:
        parsed(command)


@pytest.mark.parametrize("command", commands_in_document(), ids=lambda command: " ".join(command[1:])[:60])
def test_every_command_of_the_document_parses(command: list[str]) -> None:
    parsed(command)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_names_its_model_its_layers_and_its_gpus(recipe: Path) -> None:
    kind, key = of(recipe)
    model = MODELS[key]
    made = [command for command in commands_of(recipe) if command[1] in ("eval", "tune")]
    given = [value for command in made for value in _values(command, "--early-exit-layers")]
    for command in made:
        assert _values(command, "--model-name") == [model.hub]
        assert _values(command, "--num-gpus") == [str(model.gpus)]
    if kind not in CHOOSING:
        assert given == ["-1", layers(model.layers(kind))]
    elif kind == "static-gsm8k":
        assert given == ["-1", *(f"{layer},{model.depth}" for layer in range(0, model.depth, 2))]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_takes_another_model_other_layers_and_further_options(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    assert "${MODEL:-" in text
    assert '"$@"' in text
    assert ("${LAYERS:-" in text) != (of(recipe)[0] in CHOOSING)
    assert f" sh recipes/{recipe.name}" in text
    assert "--limit" in text


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_the_document_names_every_recipe(recipe: Path) -> None:
    assert f"(../recipes/{recipe.name})" in DOCUMENT


def test_the_document_names_no_recipe_that_is_not_there() -> None:
    named = set(re.findall(r"recipes/([\w-]+\.sh)", DOCUMENT))
    assert named == {recipe.name for recipe in RECIPES}


@pytest.mark.parametrize("task", BENCHMARKS)
def test_the_document_has_a_command_for_every_cell(task: str) -> None:
    commands = [(each[2], each) for each in commands_in_document() if each[1] == "eval"]
    name, _, version = task.partition("-") if task.startswith("factor") else (task, "", "")
    for model in MODELS.values():
        mine = [
            each
            for found, each in commands
            if found == name
            and _values(each, "--model-name") == [model.hub]
            and _values(each, "--data-version") == ([version] if version else [])
        ]
        given = [_values(each, "--early-exit-layers") for each in mine]
        assert ["-1"] in given
        assert [layers(model.layers(task))] in given


@pytest.mark.parametrize("task", BENCHMARKS)
def test_the_document_shows_every_figure(task: str) -> None:
    metrics = list(dict.fromkeys(each.metric for each in all_figures() if each.task == task))
    for key, model in MODELS.items():
        found = figures(task, key)
        for decoding in decodings(found):
            by_metric = {each.metric: each for each in found if each.decoding == decoding}
            cells = [f"{by_metric[metric].percent:.1f}" if metric in by_metric else "–" for metric in metrics]
            assert f"| {model.name} | {decoding} | {' | '.join(cells)} |" in _section(task)


# What the columns of the shared folder's first table hold, in its order.
SHARED_COLUMNS = (
    (("tfqa-mc", "MC1"), ("tfqa-mc", "MC2"), ("tfqa-mc", "MC3")),
    (("factor-news", "accuracy"), ("factor-wiki", "accuracy")),
    (("tfqa", "truth"), ("tfqa", "info"), ("tfqa", "truth_info"), ("tfqa", "reject")),
    (("strqa", "accuracy"), ("gsm8k", "accuracy")),
)


@pytest.mark.shared
def test_the_figures_are_those_of_the_shared_table_where_all_are_read_in_the_paper(shared: Path) -> None:
    text = (shared / "paper-figures.md").read_text(encoding="utf-8")
    ours = {(each.model, each.decoding, each.task, each.metric): each.percent for each in all_figures()}
    assert ours == _read_in_the_paper(text)
    assert len(ours) == len(all_figures())


@pytest.mark.parametrize("model", MODELS)
def test_every_model_and_benchmark_has_vanilla_and_dola_in_all_metrics(model: str) -> None:
    for task in BENCHMARKS:
        metrics = {each.metric for each in all_figures() if each.task == task}
        for decoding in ("vanilla", "DoLa"):
            assert {each.metric for each in figures(task, model) if each.decoding == decoding} == metrics


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("huggyllama/llama-7b", "llama-7b"),
        ("/data/llama-30b/", "llama-33b"),
        ("llama-13b-hf", "llama-13b"),
        ("LLaMA-65B", "llama-65b"),
        ("meta-llama/Llama-2-7b-hf", None),
        ("huggyllama/llama-7b-chat", None),
        ("smollm2", None),
    ],
)
def test_a_model_is_taken_for_the_papers_only_by_its_whole_name(name: str, model: str | None) -> None:
    assert model_named(name) == model


def _values(command: list[str], option: str) -> list[str]:
    return [value for flag, value in itertools.pairwise(command) if flag == option]


def _section(task: str) -> str:
    return DOCUMENT.split(f"## {BENCHMARKS[task].title}\n")[1].split("\n## ")[0]


def _read_in_the_paper(text: str) -> dict[tuple[str, str, str, str], float]:
    """The figures of the text's first table. Bold are those read in the paper: no other is let in."""
    lines = text[text.index("| model |") :].splitlines()
    found, model = {}, ""
    for line in itertools.takewhile(lambda line: line.startswith("| "), lines[2:]):
        name, *cells = line.strip("| ").split(" | ")
        model, decoding = (model, name[2:]) if name.startswith("+ ") else (name.lower(), VANILLA)
        for columns, cell in zip(SHARED_COLUMNS, cells, strict=True):
            numbers = cell.split(" / ") if cell != "–" else ["–"] * len(columns)
            for column, number in zip(columns, numbers, strict=True):
                bold = re.fullmatch(r"\*\*(\d+\.\d)\*\*", number)
                assert bold or number == "–", f"{name}, {column}: {number} was not read in the paper"
                if bold:
                    found[model, decoding, *column] = float(bold[1])
    return found
