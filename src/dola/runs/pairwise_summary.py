"""What the verdicts of a pairwise review come to: win rates, a sign test, and the judge's faults.

A question is what counts, whatever its turns. A win counts 1, a loss 0, and whatever is neither (a tie,
verdicts that differ with the order, a malformed one) ½, as in FastChat's adjusted win rate; so no question is
ever left out of the figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scipy import stats

from dola.judges.pair_files import Id
from dola.judges.pair_verdicts import OUTCOMES, Outcome, Winner
from dola.judges.pairwise import JudgedMatch
from dola.statistics import CONFIDENCE, Difference, Interval, mean_intervals, paired_differences

# Of the questions that are left out, how many are named.
_NAMED = 5

VALUES: dict[Outcome, float] = {"win": 1.0, "loss": 0.0, "tie": 0.5, "inconsistent": 0.5, "malformed": 0.5}


PLACES: tuple[Winner | None, ...] = ("first", "second", "tie", None)


@dataclass(frozen=True)
class Tally:
    """Some questions together, from model a's side; one of several turns counts as one.

    Attributes:
        outcomes: how many of each.
        reversed: of the inconsistent, those where the other order made the other model win.
        win_rate: with its bootstrap interval over the matches.
        decided: wins among wins and losses, with the exact (Clopper–Pearson) interval.
        p: two-sided sign test on wins against losses.
    """

    outcomes: dict[Outcome, int]
    reversed: int
    win_rate: Interval
    decided: Interval | None
    p: float

    @property
    def judged(self) -> bool:
        """Whether there is any verdict to make a figure of."""
        return self.outcomes["malformed"] < self.matches

    @property
    def matches(self) -> int:
        return sum(self.outcomes.values())


@dataclass(frozen=True)
class Scores:
    """A review's scores where every verdict on a match has them.

    Attributes:
        a, b: means over these matches, over both orders.
        relative: sum of a's scores by sum of b's; None where b has none.
        difference: of a and b, match by match.
    """

    matches: int
    a: Interval
    b: Interval
    relative: float | None
    difference: Difference


@dataclass(frozen=True)
class PairSummary:
    """
    Attributes:
        categories: in the questions' order.
        places: how many verdicts went to the answer shown first, and so on.
        otherwise: how many verdicts FastChat's own rule reads differently.
        cut: how many of the malformed replies were cut before their end.
        turns: how many matches were judged: of a question of two turns, a pair judgement judges two.
    """

    overall: Tally
    categories: dict[str, Tally]
    places: dict[str, int]
    otherwise: int
    scores: Scores | None
    cut: int = 0
    turns: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "overall": _tally_json(self.overall),
            "categories": {name: _tally_json(tally) for name, tally in self.categories.items()},
            "places": self.places,
            "turns": self.turns,
            "cut": self.cut,
            "read_otherwise_by_fastchat": self.otherwise,
            "scores": None if self.scores is None else asdict(self.scores),
        }


def summarise_pairs(results: Sequence[JudgedMatch], *, seed: int, cut: int = 0) -> PairSummary:
    """All figures of a review; `seed` is the bootstrap's, `cut` how many replies were cut before their end.

    Raises:
        ValueError: nothing was judged.
    """
    if not results:
        raise ValueError("nothing was judged, so there is nothing to sum up")
    groups: dict[str, list[JudgedMatch]] = {}
    for result in results:
        groups.setdefault(result.match.question.category, []).append(result)
    verdicts = [verdict for result in results for verdict in result.verdicts.values()]
    places = Counter(verdict.winner for verdict in verdicts)
    return PairSummary(
        overall=_tally(results, seed),
        categories={name: _tally(group, seed) for name, group in groups.items()},
        places={place or "malformed": places[place] for place in PLACES},
        otherwise=sum(verdict.winner != verdict.released for verdict in verdicts),
        scores=_scores(results, seed),
        cut=cut,
        turns=len(results),
    )


def findings(summary: PairSummary, labels: tuple[str, str]) -> list[str]:
    """The outcome in words, and what is to be kept in mind about the judge."""
    overall, replies = summary.overall, sum(summary.places.values())
    counts = overall.outcomes
    beyond = "beyond chance" if overall.p < 1 - CONFIDENCE else "no more than chance gives"
    p = "p < 0.001" if overall.p < 0.001 else f"p = {overall.p:.3f}"
    won = f"wins {counts['win']} and loses {counts['loss']} of {overall.matches}"
    lines = [f"{labels[0]} {won} against {labels[1]}: {beyond} (sign test, {p})."]
    if counts["inconsistent"]:
        lines.append(
            f"{counts['inconsistent']} of {overall.matches} pairs are judged differently in the other order,"
            f" {overall.reversed} of them with the other winner: they count for neither."
        )
    if summary.places["malformed"]:
        lines.append(
            f"{summary.places['malformed']} of {replies} replies hold no verdict that can be read: they are"
            " kept and count for neither; --retry-failed asks for them again."
        )
    if summary.cut:
        lines.append(
            f"{summary.cut} of these were cut before their end: where for their length, --max-tokens gives"
            " the judge more room."
        )
    if summary.otherwise:
        lines.append(f"FastChat's own rule reads {summary.otherwise} of {replies} replies otherwise.")
    return [*lines, *_favoured_place(summary, replies)]


def not_compared(failed: Mapping[Id, str]) -> list[str]:
    """What is said of the questions that are left out, since an answer is none."""
    if not failed:
        return []
    named = "; ".join(f"{key} ({what})" for key, what in list(failed.items())[:_NAMED])
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    count = f"{len(failed)} question{'s are' if len(failed) > 1 else ' is'} not compared"
    return [f"{count}, since an answer is an error, empty or cut: {named}{more}. --compare-failed does."]


def _favoured_place(summary: PairSummary, replies: int) -> list[str]:
    """Whether the judge goes by the place. With one order alone it cannot be told from the answers' worth."""
    first, second = summary.places["first"], summary.places["second"]
    if replies < 2 * summary.turns or _sign_test(first, second) >= 1 - CONFIDENCE:
        return []
    place = "first" if first > second else "second"
    return [f"The judge favours a place: of {first + second} winners {max(first, second)} stood {place}."]


def _tally(results: Sequence[JudgedMatch], seed: int) -> Tally:
    questions: dict[Id, list[JudgedMatch]] = {}
    for result in results:
        questions.setdefault(result.match.question.id, []).append(result)
    found = [_of_turns([turn.outcome for turn in turns]) for turns in questions.values()]
    counted = Counter(outcome for outcome, _ in found)
    outcomes = {outcome: counted[outcome] for outcome in OUTCOMES}
    (rate,) = mean_intervals([[value for _, value in found]], seed=seed)
    wins, losses = outcomes["win"], outcomes["loss"]
    return Tally(
        outcomes=outcomes,
        reversed=sum(
            outcome == "inconsistent" and any(turn.reversed for turn in turns)
            for (outcome, _), turns in zip(found, questions.values(), strict=True)
        ),
        win_rate=rate,
        decided=_share(wins, wins + losses),
        p=_sign_test(wins, losses),
    )


def _of_turns(outcomes: Sequence[Outcome]) -> tuple[Outcome, float]:
    """What the turns of a question come to, and what that counts: the mean of those that were judged."""
    judged: list[Outcome] = [outcome for outcome in outcomes if outcome != "malformed"] or ["malformed"]
    value = sum(VALUES[outcome] for outcome in judged) / len(judged)
    if len(set(judged)) == 1:
        return judged[0], value
    if value == 0.5:
        return "tie", value
    return ("win" if value > 0.5 else "loss"), value


def _share(count: int, total: int) -> Interval | None:
    if not total:
        return None
    interval = stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="exact")
    return Interval(count / total, float(interval.low), float(interval.high))


def _sign_test(one: int, other: int) -> float:
    return float(stats.binomtest(one, one + other).pvalue) if one + other else 1.0


def _scores(results: Sequence[JudgedMatch], seed: int) -> Scores | None:
    a, b = ([result.scores_for(side) for result in results] for side in ("a", "b"))
    pairs = [(_mean(one), _mean(other)) for one, other in zip(a, b, strict=True) if one and other]
    if not pairs:
        return None
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    of_a, of_b = mean_intervals([ours, theirs], seed=seed)
    (difference,) = paired_differences([(ours, theirs)], seed=seed)
    relative = sum(ours) / sum(theirs) if any(theirs) else None
    return Scores(len(pairs), of_a, of_b, relative, difference)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _tally_json(tally: Tally) -> dict[str, Any]:
    nothing: dict[str, Any] = {} if tally.judged else {"win_rate": None, "p": None}
    return {"matches": tally.matches, **asdict(tally), **nothing}
