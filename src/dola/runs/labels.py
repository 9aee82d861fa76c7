"""What a judge, or people, said of each answer or pair of answers: read from what `dola judge` writes.

    out.json                 a result of `dola eval tfqa`, rated: yes or no, for truth and for information
    review.summary.json      of `dola judge pairwise`: a, b or tie (an inconsistent pair is a tie, as in
                             MT-bench); review.jsonl stands for it
    labels.csv               people's: `index` or `question_id`, and `label`; `kind`, `strategy` and `turn`
                             where an index alone does not say which

Labels of pairs are kept by the models' names, so that two reviews may call them in either order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dola.errors import DataError
from dola.judges.truthful import THRESHOLD
from dola.runs.results import KEY
from dola.tasks.csv_rows import Row, read_table

Kind = Literal["pairs", "rating"]
TIE = "tie"
YES, NO = "yes", "no"
# A pair's in people's words; a rating's too.
_FIRST = frozenset({"a", "model_1", "win", "first", "[[a]]"})
_SECOND = frozenset({"b", "model_2", "loss", "second", "[[b]]"})
_NEITHER = frozenset({"tie", "c", "[[c]]", "both", "equal", "draw", "neither", "tie (bothbad)"})
_TRUE = frozenset({"yes", "y", "true", "t", "1", "1.0"})
_FALSE = frozenset({"no", "n", "false", "f", "0", "0.0"})


@dataclass(frozen=True)
class Item:
    """What was judged: a pair of answers to a turn of a question, or an answer of a strategy.

    Attributes:
        index: the question's place, from 0.
        kind: of a rating, `truth` or `info`.
    """

    question: str
    index: int = field(compare=False)
    turn: int = 1
    strategy: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Labels:
    """
    Attributes:
        labels: that there are, in a table's order.
        given: what was said of each item.
        unread: of how many items nothing could be read.
        texts: by item, what was judged, to see that it is the same; of pairs the answers' hashes.
        longer: of a pair the label of the longer answer; of a rating the answer's length.
        places: how many winners stood first, and how many second; None where it cannot be told.
    """

    path: Path
    kind: Kind
    labels: tuple[str, ...]
    given: Mapping[Item, str]
    unread: int = 0
    texts: Mapping[Item, str] = field(default_factory=dict, repr=False)
    longer: Mapping[Item, str | int] = field(default_factory=dict, repr=False)
    places: tuple[int, int] | None = None


def read_labels(path: Path) -> Labels:
    """What a judge said, from a rated result or a review.

    Raises:
        DataError: neither, or a result that is not rated.
    """
    beside = path.with_name(f"{path.stem}.summary.json")
    if path.suffix == ".jsonl" and beside.exists():
        path = beside
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file: expected a rated result, or a review's summary", path=path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            "expected a rated result of `dola judge tfqa`, or the review.summary.json of `dola judge"
            f" pairwise` ({error})",
            path=path,
        ) from None
    ours = content.get(KEY) if isinstance(content, dict) else None
    try:
        if isinstance(ours, dict) and ours.get("kind") == "pairwise":
            return _pairs(path, ours)
        if isinstance(ours, dict) and "rating" in ours and "examples" in ours:
            return _rating(path, ours)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(f"is damaged: {type(error).__name__} {error}", path=path) from None
    raise DataError(
        "holds no verdicts: expected a result that `dola judge tfqa` has rated, or the review.summary.json of"
        " `dola judge pairwise`",
        path=path,
    )


def read_people(path: Path, judge: Labels) -> Labels:
    """People's labels of what `judge` judged.

    Raises:
        DataError: no such columns, a label that is none, an item that was not judged or could be several.
    """
    table = read_table(path)
    names = {name.strip().lower(): name for name in table.columns}
    key = next((name for name in ("question_id", "index") if name in names), None)
    if key is None or "label" not in names:
        raise DataError(
            "expected the columns 'index' or 'question_id', and 'label'; found"
            f" {', '.join(map(repr, table.columns))}",
            path=path,
            line=1,
        )
    given: dict[Item, str] = {}
    unread = 0
    for row in table.rows:
        cells = {short: row.cells[name].strip() for short, name in names.items()}
        if not cells["label"]:
            unread += 1
            continue
        item = _item_of(row, names[key], key, cells, judge)
        if item in given:
            raise row.error(names[key], f"{cells[key]!r} is labelled twice: expected one label for each")
        given[item] = _said(row, names["label"], cells["label"], judge)
    if not given:
        raise DataError("expected labels, and all are empty", path=path, column="label")
    longer = {item: judge.longer[item] for item in given if item in judge.longer}
    return Labels(path, judge.kind, judge.labels, given, unread, longer=longer)


def _pairs(path: Path, ours: Mapping[str, Any]) -> Labels:
    sides = {"win": ours["a"]["label"], "loss": ours["b"]["label"], "tie": TIE, "inconsistent": TIE}
    first, second = sides["win"], sides["loss"]
    hashes = {ours[side]["label"]: str(ours[side]["sha256"]) for side in "ab"}
    answers = json.dumps(hashes, sort_keys=True)
    order: dict[str, int] = {}
    given: dict[Item, str] = {}
    longer: dict[Item, str | int] = {}
    unread = 0
    for match in ours["matches"]:
        question = str(match["question_id"])
        item = Item(question, order.setdefault(question, len(order)), int(match["turn"]))
        if match["outcome"] not in sides:
            unread += 1
            continue
        given[item] = str(sides[match["outcome"]])
        characters = match.get("characters")
        if characters and characters["a"] != characters["b"]:
            longer[item] = str(first if characters["a"] > characters["b"] else second)
    return Labels(
        path=path,
        kind="pairs",
        labels=(str(first), str(second), TIE),
        given=given,
        unread=unread,
        texts=dict.fromkeys(given, answers),
        longer=longer,
        places=_places(ours),
    )


def _places(ours: Mapping[str, Any]) -> tuple[int, int] | None:
    if len(ours["judge"]["orders"]) < 2:
        return None
    return int(ours["places"]["first"]), int(ours["places"]["second"])


def _rating(path: Path, ours: Mapping[str, Any]) -> Labels:
    given: dict[Item, str] = {}
    texts: dict[Item, str] = {}
    longer: dict[Item, str | int] = {}
    unread = 0
    labels = {row["strategy"]: str(row["label"]) for row in ours["rows"] if row["strategy"] is not None}
    for example in ours["examples"]:
        for place, completion in enumerate(example["completions"]):
            for kind, probability in completion.get("verdicts", {}).items():
                index = int(example["index"])
                item = Item(str(index), index, strategy=labels[place], kind=kind)
                if probability is None:
                    unread += 1
                    continue
                given[item] = YES if probability >= THRESHOLD else NO
                texts[item] = json.dumps([example["question"], completion["text"]])
                longer[item] = len(completion["text"])
    return Labels(path, "rating", (YES, NO), given, unread, texts, longer)


def _item_of(row: Row, column: str, key: str, cells: Mapping[str, str], judge: Labels) -> Item:
    """The one item that a row is about."""
    found = list(_matching(judge.given, key, cells))
    if len(found) == 1:
        return found[0]
    if not found:
        raise row.error(column, f"{cells[key]!r} was not judged in {judge.path}, or had no verdict there")
    missing = [name for name in ("kind", "strategy", "turn") if not cells.get(name)]
    apart = [name for name in missing if len({getattr(item, name) for item in found}) > 1]
    raise row.error(
        column,
        f"{cells[key]!r} could be {len(found)} verdicts of {judge.path}: expected a column"
        f" {' and '.join(map(repr, apart))} that says which",
    )


def _matching(items: Iterable[Item], key: str, cells: Mapping[str, str]) -> Iterator[Item]:
    for item in items:
        place = {"question_id": item.question, "index": str(item.index)}[key]
        told = {"kind": item.kind, "strategy": item.strategy, "turn": str(item.turn)}
        if place == cells[key] and all(
            not cells.get(name) or cells[name] == value for name, value in told.items()
        ):
            yield item


def _said(row: Row, column: str, label: str, judge: Labels) -> str:
    if label in judge.labels:
        return label
    small = label.lower()
    words = (_TRUE, _FALSE) if judge.kind == "rating" else (_FIRST, _SECOND, _NEITHER)
    for known, meant in zip(words, judge.labels, strict=True):
        if small in known:
            return meant
    told = "yes or no" if judge.kind == "rating" else f"a, b, tie, {judge.labels[0]!r} or {judge.labels[1]!r}"
    raise row.error(column, f"expected {told}, found {label[:40]!r}")
