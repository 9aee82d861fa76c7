"""The controls know lengths and nothing else, and random scores average to what chance is by counting."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dola.tasks.controls import controls, longest, random_scores, shortest
from dola.tasks.factor import Factor
from dola.tasks.prompts import load_demonstrations
from dola.tasks.tfqa_mc import TruthfulQAMC

DATA = Path(__file__).parent / "data"
TASK = TruthfulQAMC(load_demonstrations("tfqa", DATA / "prompts"))
EXAMPLES = TASK.load(DATA / "truthfulqa").examples
LENGTHS = [[len(text) for text in TASK.request(each).continuations] for each in EXAMPLES]


def test_the_longest_and_the_shortest_answer_win_by_length_alone() -> None:
    long, short, _ = controls(TASK, EXAMPLES[:2], LENGTHS[:2], draws=2)
    # "A polar bear has black skin." is the longest answer of the first question, and not its best;
    # "It stays behind." is the shortest of the second.
    assert [one["MC3"] for one in long.per_example] == pytest.approx([1 / 3, 0.0])
    assert [one["MC2"] for one in long.per_example] == pytest.approx([1.0, 0.0])
    assert [one["MC3"] for one in short.per_example] == pytest.approx([0.0, 1 / 3])
    assert [one["MC1"] for one in long.per_example] == [0.0, 0.0]
    assert long.spread == short.spread == {}
    assert longest([3, 1]) == tuple(-score for score in shortest([3, 1]))


def test_random_scores_average_to_chance() -> None:
    draws = 2000
    row = controls(TASK, EXAMPLES, LENGTHS, draws=draws)[2]
    # Alike and independent, each of n scores is the highest of them in 1 of n draws.
    chance = {
        "MC1": statistics.mean(1 / (1 + len(each.false_answers)) for each in EXAMPLES),
        "MC2": statistics.mean(
            len(each.true_answers) / len((*each.true_answers, *each.false_answers)) for each in EXAMPLES
        ),
    }
    chance["MC3"] = chance["MC1"]
    for metric, expected in chance.items():
        assert row.means[metric] == pytest.approx(expected, abs=5 * row.spread[metric] / draws**0.5)


def test_the_spread_is_that_of_the_mean_over_the_examples() -> None:
    task = Factor()
    examples = task.load(DATA / "factor" / "expert_factor.csv").examples
    row = controls(task, examples, [[1, 1, 1, 1]] * 2, draws=2000)[2]
    # Of two independent guesses among four.
    assert row.spread["accuracy"] == pytest.approx((0.25 * 0.75 / 2) ** 0.5, rel=0.05)


def test_parts_spread_as_the_whole_does() -> None:
    whole = controls(TASK, EXAMPLES, LENGTHS, draws=7)[2].spread
    parts = [
        controls(TASK, EXAMPLES[cut], LENGTHS[cut], draws=7)[2].spread for cut in (slice(2), slice(2, None))
    ]
    weights = (2, len(EXAMPLES) - 2)
    for metric in TASK.metrics:
        of_parts = sum((weight * part[metric]) ** 2 for weight, part in zip(weights, parts, strict=True))
        assert whole[metric] == pytest.approx(of_parts**0.5 / len(EXAMPLES), rel=1e-12)


def test_rows_beyond_three_thousand_are_drawn_for_a_few_times_only() -> None:
    drawn: list[int] = []

    class Counting(Factor):
        def measure(self, example: Any, scores: Any) -> dict[str, float]:
            drawn.append(example.index)
            return super().measure(example, scores)

    task = Counting()
    first = task.load(DATA / "factor" / "expert_factor.csv").examples[0]
    examples = [replace(first, index=index) for index in (0, 2_999, 3_000, 900_000)]
    controls(task, examples, [[1, 1, 1, 1]] * 4, draws=20)
    assert [drawn.count(example.index) - 2 for example in examples] == [
        20,
        20,
        4,
        4,
    ]  # two controls of length


def test_an_examples_draws_do_not_depend_on_the_others_in_the_run() -> None:
    whole = controls(TASK, EXAMPLES, LENGTHS, draws=5)[2]
    part = controls(TASK, EXAMPLES[2:], LENGTHS[2:], draws=5)[2]
    assert part.per_example == whole.per_example[2:]
    other_seed = controls(TASK, EXAMPLES, LENGTHS, draws=5, seed=1)[2]
    assert other_seed.per_example != whole.per_example


def test_the_same_seed_draws_the_same_scores() -> None:
    assert list(random_scores(3, draws=4, seed=7)) == list(random_scores(3, draws=4, seed=7))


def test_a_length_control_ties_where_the_lengths_do() -> None:
    task = Factor()
    example = task.load(DATA / "factor" / "expert_factor.csv").examples[0]
    row = controls(task, [example], [[9, 9, 8, 7]], draws=2)[0]
    assert (row.means["accuracy"], row.means["accuracy_strict"]) == (1.0, 0.0)
