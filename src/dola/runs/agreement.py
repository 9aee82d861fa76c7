"""How far two that judged the same agree, beyond what chance gives, and where each is biased.

Cohen's kappa is (o - e) / (1 - e): o the share of items that got the same label, e what it would be if each
gave its own labels at random (Cohen 1960). Its interval is the percentile bootstrap's over questions, since
answers to one question are alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dola.errors import DataError
from dola.runs.labels import TIE, YES, Item, Labels
from dola.statistics import CONFIDENCE, RESAMPLES, Interval

# So few items are no measurement.
_FEW = 30


@dataclass(frozen=True)
class Agreement:
    """Of one kind of verdicts.

    Attributes:
        kind: `truth` or `info`; "" for pairs.
        items: that both have labelled.
        same: the share of them with one label, with its exact (Clopper–Pearson) interval.
        kappa: None where it is not defined: both gave one and the same label to everything.
        confusion: `[first's label][second's label]`, in the order of `labels`.
    """

    kind: str
    items: int
    labels: tuple[str, ...]
    same: Interval
    kappa: Interval | None
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Bias:
    """What one goes by besides the answers' worth.

    Attributes:
        position: of a judge of pairs, the share of its winners that stood first; ½ is none. None: not known.
        length: of pairs, the share of decided ones that the longer answer won; ½ is none, if length says
            nothing of worth. Of a rating, the share of yes among the longer half of the answers minus that
            among the shorter half. None: not known.
    """

    position: Interval | None
    length: Interval | None


@dataclass(frozen=True)
class Compared:
    """Two that judged the same; `apart`: how many items only one of them has labelled."""

    agreements: tuple[Agreement, ...]
    biases: tuple[Bias, Bias]
    apart: int
    unread: tuple[int, int]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(one: Labels, other: Labels, *, seed: int) -> Compared:
    """Agreement and biases, deterministic for a seed.

    Raises:
        DataError: they are not of the same answers, or nothing was labelled by both.
    """
    _check_same(one, other)
    shared = [item for item in one.given if item in other.given]
    if not shared:
        raise DataError(
            f"nothing is judged in both: expected the same questions as in {one.path}", path=other.path
        )
    kinds = dict.fromkeys(item.kind for item in shared)
    return Compared(
        agreements=tuple(
            _agreement(kind, [item for item in shared if item.kind == kind], one, other, seed)
            for kind in kinds
        ),
        biases=(_bias(one, shared, seed), _bias(other, shared, seed)),
        apart=len(one.given.keys() ^ other.given.keys()),
        unread=(one.unread, other.unread),
    )


def findings(compared: Compared, names: tuple[str, str]) -> list[str]:
    """What is to be kept in mind about the figures."""
    lines = []
    for each in compared.agreements:
        what = f" ({each.kind})" if each.kind else ""
        if each.kappa is None:
            lines.append(
                f"Both give one label to everything{what}: kappa is not defined, and nothing is shown."
            )
        elif each.kappa.low is not None and each.kappa.low <= 0:
            lines.append(f"The agreement{what} is no more than chance may give: kappa's interval holds 0.")
        if each.items < _FEW:
            lines.append(f"{each.items} items{what} are few: label more before you trust the figure.")
    if compared.apart:
        lines.append(f"{compared.apart} items are labelled by one alone, and left out.")
    for name, unread, bias in zip(names, compared.unread, compared.biases, strict=True):
        if unread:
            lines.append(f"{unread} items of {name} have no verdict, and are left out.")
        if _beyond(bias.position):
            lines.append(f"{name} favours a place: {_share(bias.position)} of its winners stood first.")
    return lines


def _beyond(share: Interval | None) -> bool:
    return (
        share is not None
        and share.low is not None
        and share.high is not None
        and not share.low <= 0.5 <= share.high
    )


def _share(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.mean:.1f}%"


def _check_same(one: Labels, other: Labels) -> None:
    if one.kind != other.kind:
        raise DataError(
            f"holds {other.kind}, {one.path} {one.kind}: expected two of one sort", path=other.path
        )
    if set(one.labels) != set(other.labels):
        raise DataError(
            f"compares {' and '.join(other.labels[:2])}, {one.path} {' and '.join(one.labels[:2])}: expected"
            " the same models",
            path=other.path,
        )
    differing = [
        item for item, text in one.texts.items() if item in other.texts and other.texts[item] != text
    ]
    if differing:
        raise DataError(
            f"{len(differing)} of its answers are others than in {one.path}, the first to question"
            f" {differing[0].question}: expected judgements of the same answers",
            path=other.path,
        )


def _agreement(kind: str, items: Sequence[Item], one: Labels, other: Labels, seed: int) -> Agreement:
    labels = one.labels
    codes = np.array(
        [labels.index(one.given[item]) * len(labels) + labels.index(other.given[item]) for item in items]
    )
    table = np.bincount(codes, minlength=len(labels) ** 2).reshape(len(labels), len(labels))
    return Agreement(
        kind=kind,
        items=len(items),
        labels=labels,
        same=_exact(int(np.trace(table)), len(items)),
        kappa=_kappa_interval(items, codes, len(labels), seed),
        confusion=tuple(tuple(map(int, row)) for row in table),
    )


def _kappa_interval(
    items: Sequence[Item], codes: NDArray[np.int64], labels: int, seed: int
) -> Interval | None:
    questions = {
        question: place for place, question in enumerate(dict.fromkeys(item.question for item in items))
    }
    tables = np.zeros((len(questions), labels * labels))
    places = np.array([questions[item.question] for item in items])
    np.add.at(tables, (places, codes), 1)
    mean = float(_kappas(tables.sum(0, keepdims=True), labels)[0])
    if math.isnan(mean):
        return None
    if len(questions) < 2:
        return Interval(mean)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(questions), np.full(len(questions), 1 / len(questions)), size=RESAMPLES)
    drawn = _kappas(times @ tables, labels)
    # A resample in which both say one thing alone agrees wholly, and says nothing of chance: left out.
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(mean, float(low), float(high))


def _kappas(tables: NDArray[np.float64], labels: int) -> NDArray[np.float64]:
    """Of confusion tables `[R, labels * labels]`; NaN where chance alone agrees wholly."""
    shares = tables.reshape(-1, labels, labels) / tables.sum(1)[:, None, None]
    same = np.trace(shares, axis1=1, axis2=2)
    chance = (shares.sum(1) * shares.sum(2)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        kappas: NDArray[np.float64] = np.where(chance < 1 - 1e-12, (same - chance) / (1 - chance), np.nan)
    return kappas


def _bias(of: Labels, shared: Sequence[Item], seed: int) -> Bias:
    position = None if of.places is None or not sum(of.places) else _exact(of.places[0], sum(of.places))
    length = _longer_won(of, shared) if of.kind == "pairs" else _longer_true(of, shared, seed)
    return Bias(position, length)


def _longer_won(of: Labels, shared: Sequence[Item]) -> Interval | None:
    decided = [item for item in shared if item in of.longer and of.given[item] != TIE]
    won = sum(of.given[item] == of.longer[item] for item in decided)
    return _exact(won, len(decided)) if decided else None


def _longer_true(of: Labels, shared: Sequence[Item], seed: int) -> Interval | None:
    """Of truth where there is any: the share of yes among the longer half minus that among the shorter."""
    kinds = Counter(item.kind for item in shared)
    kind = "truth" if "truth" in kinds else next(iter(kinds))
    known = [
        (of.longer[item], of.given[item] == YES) for item in shared if item.kind == kind and item in of.longer
    ]
    middle = float(np.median([int(length) for length, _ in known])) if known else 0.0
    halves = [
        [float(yes) for length, yes in known if (int(length) > middle) is longer] for longer in (True, False)
    ]
    if min(map(len, halves)) < 2:
        return None
    longer, shorter = map(np.array, halves)
    found = stats.bootstrap(
        (longer, shorter),
        lambda x, y, axis=-1: x.mean(axis) - y.mean(axis),
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(float(longer.mean() - shorter.mean()), float(found.low), float(found.high))


def _exact(count: int, total: int) -> Interval:
    interval = stats.binomtest(count, total).proportion_ci(CONFIDENCE, method="exact")
    return Interval(count / total, float(interval.low), float(interval.high))
