"""What replies say, what two of them come to, and that it does not matter which model is called a."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dola.judges.pair_files import Answer, Question
from dola.judges.pair_prompts import Form, PairPrompt
from dola.judges.pair_verdicts import Verdict, outcome_for_a, read_reply, released_scores
from dola.judges.pairwise import BOTH, JudgedMatch, Match, judged
from dola.runs.pairwise_summary import findings, summarise_pairs


@pytest.mark.parametrize(
    ("text", "scores", "released"),
    [
        ("8 9\nBecause.", (8, 9), [8, 9]),
        ("8,9\nBecause.", (8, 9), [8, 9]),
        ("7.5 7.5", (7.5, 7.5), [7.5, 7.5]),
        # What FastChat's rule drops, and any reader would not.
        ("8, 9\nBecause.", (8, 9), [-1, -1]),
        ("\n\n8 9\nBecause.", (8, 9), [-1, -1]),
        ("**8 9**", (8, 9), [-1, -1]),
        ("8  9", (8, 9), [-1, -1]),
        # What nobody can read.
        ("", None, [-1, -1]),
        ("I cannot say.", None, [-1, -1]),
        ("8", None, [-1, -1]),
        ("8 9 7", None, [-1, -1]),
        ("Assistant 1: 8, Assistant 2: 9", None, [-1, -1]),
        ("nan nan", None, [-1, -1]),
        # What FastChat takes for scores, on no scale that the judge was given.
        ("80 90", None, [80, 90]),
        ("-5 8", None, [-5, 8]),
    ],
)
def test_a_review_is_two_scores_on_its_first_line(
    text: str, scores: tuple[float, float] | None, released: list[float]
) -> None:
    assert read_reply("scores", text).scores == scores
    assert released_scores(text) == released


@pytest.mark.parametrize(
    ("text", "winner", "released"),
    [
        ("So: [[A]]", "first", "first"),
        ("So: [[B]]", "second", "second"),
        ("So: [[C]]", "tie", "tie"),
        ("Not [[A]], though it is longer. [[B]]", "second", "first"),
        ("[[C]]? No: [[B]]", "second", "second"),
        ("A", None, None),
        ("[[a]]", None, None),
        ("", None, None),
    ],
)
def test_a_pair_verdict_is_the_last_mark_and_fastchat_s_the_first_letter(
    text: str, winner: str | None, released: str | None
) -> None:
    verdict = read_reply("verdict", text)
    assert (verdict.winner, verdict.released) == (winner, released)


@pytest.mark.parametrize(
    ("sides", "outcome"),
    [
        (("a", "a"), "win"),
        (("b", "b"), "loss"),
        (("tie", "tie"), "tie"),
        (("a", "b"), "inconsistent"),
        (("a", "tie"), "inconsistent"),
        (("a", None), "malformed"),
        ((None, None), "malformed"),
        (("b",), "loss"),
    ],
)
def test_an_answer_wins_where_it_wins_in_every_order(sides: tuple[str | None, ...], outcome: str) -> None:
    assert outcome_for_a(sides) == outcome  # type: ignore[arg-type]


def test_the_place_is_told_from_the_model() -> None:
    first = Verdict("first")
    assert (first.for_side("ab"), first.for_side("ba")) == ("a", "b")


def match(form: Form, number: int, one: str, other: str) -> Match:
    prompt = PairPrompt("p", Path("p"), "S", "{question} {answer_1} {answer_2}")
    question = Question(number, f"category {number % 2}", ("Why?",))
    return Match(question, prompt, form, Answer("1", "m", (one,)), Answer("2", "n", (other,)))


REPLIES: dict[Form, list[str | None]] = {
    "scores": ["8 9", "9 8", "7 7", "3, 10", "none", None],
    "verdict": ["[[A]]", "[[B]]", "[[C]]", "none", None],
}


def results(form: Form, replies: list[tuple[str | None, str | None]], *, swapped: bool) -> list[JudgedMatch]:
    """The judge says the same of the same two texts in the same order, whoever wrote them."""
    made = []
    for number, (straight, turned) in enumerate(replies):
        of = match(form, number, "y", "x") if swapped else match(form, number, "x", "y")
        said = dict(zip(BOTH, (turned, straight) if swapped else (straight, turned), strict=True))
        made.append(judged(of, said))
    return made


@st.composite
def reviews(draw: st.DrawFn) -> tuple[Form, list[tuple[str | None, str | None]]]:
    form: Form = draw(st.sampled_from(["scores", "verdict"]))
    reply = st.sampled_from(REPLIES[form])
    return form, draw(st.lists(st.tuples(reply, reply), min_size=1, max_size=6))


@settings(max_examples=40)
@given(reviews())
def test_calling_the_models_the_other_way_round_mirrors_every_figure(
    review: tuple[Form, list[tuple[str | None, str | None]]],
) -> None:
    form, replies = review
    ours = summarise_pairs(results(form, replies, swapped=False), seed=1)
    theirs = summarise_pairs(results(form, replies, swapped=True), seed=1)
    for mine, other in (
        (ours.overall, theirs.overall),
        *((ours.categories[name], theirs.categories[name]) for name in ours.categories),
    ):
        mirrored = {**mine.outcomes, "win": mine.outcomes["loss"], "loss": mine.outcomes["win"]}
        assert other.outcomes == mirrored
        assert (other.reversed, other.p) == (mine.reversed, pytest.approx(mine.p))
        assert other.win_rate.mean == pytest.approx(1 - mine.win_rate.mean)
        if mine.win_rate.low is not None and mine.win_rate.high is not None:
            assert other.win_rate.low == pytest.approx(1 - mine.win_rate.high)
            assert other.win_rate.high == pytest.approx(1 - mine.win_rate.low)
        assert (mine.decided is None) == (other.decided is None)
        if mine.decided and other.decided:
            assert other.decided.low == pytest.approx(1 - mine.decided.high)
    assert (theirs.places, theirs.otherwise) == (ours.places, ours.otherwise)
    if ours.scores and theirs.scores:
        assert theirs.scores.a.mean == pytest.approx(ours.scores.b.mean)
        assert theirs.scores.difference.interval.mean == pytest.approx(-ours.scores.difference.interval.mean)


@settings(max_examples=20)
@given(reviews())
def test_no_verdict_is_ever_left_out(review: tuple[Form, list[tuple[str | None, str | None]]]) -> None:
    form, replies = review
    summary = summarise_pairs(results(form, replies, swapped=False), seed=1)
    assert summary.overall.matches == len(replies)
    assert sum(summary.places.values()) == 2 * len(replies)
    assert sum(tally.matches for tally in summary.categories.values()) == len(replies)


def test_the_figures_of_a_review_by_hand() -> None:
    replies = [
        ("9 5", "5 9"),
        ("9 5", "9 5"),
        ("6 6", "6 6"),
        ("none", "5 9"),
        ("5 9", "9 5"),
        ("9 5", "7 7"),
    ]
    summary = summarise_pairs(results("scores", replies, swapped=False), seed=1)
    counted = {"win": 1, "loss": 1, "tie": 1, "inconsistent": 2, "malformed": 1}
    assert summary.overall.outcomes == counted
    assert summary.overall.reversed == 1
    assert summary.overall.win_rate.mean == pytest.approx((1 + 0 + 4 * 0.5) / 6)
    assert summary.overall.p == 1.0
    assert summary.places == {"first": 5, "second": 3, "tie": 3, "malformed": 1}
    assert summary.scores is not None
    assert summary.scores.matches == 5  # the one with a malformed verdict has no scores in both orders
    # Of a: 9+9, 9+5, 6+6, 5+5, 9+7 over ten verdicts; of b: 5+5, 5+9, 6+6, 9+9, 5+7.
    assert summary.scores.a.mean == pytest.approx(7.0)
    assert summary.scores.b.mean == pytest.approx(6.6)
    assert summary.scores.relative == pytest.approx(7.0 / 6.6)


def test_the_sign_test_is_the_binomial_one() -> None:
    summary = summarise_pairs(results("verdict", [("[[A]]", "[[B]]")] * 6, swapped=False), seed=1)
    assert summary.overall.p == pytest.approx(2 * 0.5**6)
    assert summary.overall.decided is not None
    assert summary.overall.decided.low == pytest.approx(0.025 ** (1 / 6))  # Clopper–Pearson where all are won
    assert "beyond chance" in findings(summary, ("x", "y"))[0]


def test_a_judge_that_goes_by_the_place_is_told() -> None:
    summary = summarise_pairs(results("verdict", [("[[A]]", "[[A]]")] * 8, swapped=False), seed=1)
    assert summary.overall.reversed == 8
    assert any("of 16 winners 16 stood first" in line for line in findings(summary, ("x", "y")))
