"""The summary of a pairwise review as JSON: its figures, what they are of, and each match's outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dola.judges.pair_files import Answer, Answers
from dola.judges.pairwise import JudgedMatch
from dola.runs.manifest import environment
from dola.runs.pairwise import Review
from dola.runs.pairwise_summary import PairSummary
from dola.runs.results import KEY

FORMAT = 1


def pairwise_json(
    review: Review,
    results: Sequence[JudgedMatch],
    summary: PairSummary,
    findings: Sequence[str],
    labels: tuple[str, str],
    answers: tuple[Answers, Answers],
    *,
    seed: int,
) -> dict[str, Any]:
    """Everything under our key, as in the other result files."""
    sides = {
        side: {"label": label, "model": each.model, "path": str(each.path), "sha256": _sha256(each.path)}
        for side, label, each in zip("ab", labels, answers, strict=True)
    }
    prompts = {result.match.prompt.path for result in results}
    ours = {
        "format": FORMAT,
        "kind": "pairwise",
        **sides,
        "judge": {
            "name": review.judge.name,
            "asked": sorted({f"{one.judge}: {one.model}" for one in review.asked()}),
            "form": review.matches[0].form,
            "prompts": {str(path): _sha256(path) for path in sorted(prompts)},
            "orders": list(review.orders),
        },
        "seed": seed,
        "environment": environment(),
        **summary.as_json(),
        "findings": list(findings),
        "matches": [_match_json(result) for result in results],
    }
    return {KEY: ours}


def _match_json(result: JudgedMatch) -> dict[str, Any]:
    match = result.match
    return {
        "question_id": match.question.id,
        "turn": match.prompt.turn,
        "category": match.question.category,
        "prompt": match.prompt.name,
        "outcome": result.outcome,
        "characters": {"a": _length(match.a), "b": _length(match.b)},
        "verdicts": {
            order: {
                "winner": verdict.for_side(order) or "malformed",
                "scores": verdict.scores and list(verdict.scores),
            }
            for order, verdict in result.verdicts.items()
        },
    }


def _length(answer: Answer) -> int:
    return sum(map(len, answer.turns))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
