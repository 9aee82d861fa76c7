"""Results of generation runs that no model made: completions out of a hash, the same on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from dola.result import Settings
from dola.runs.measured import Measured, MeasuredRow, Speed
from dola.runs.results import result_of
from dola.runs.summary import summarise

PLAIN = "Janet has 3 eggs and sells them at 2 dollars each. How many dollars does she make?"
LLAMA_7B = ("32", "0,2,4,6,8,10,12,14,32")
LABELS = ("vanilla", "0,2,4,6,8,10,12,14,32")


def chance(*parts: object) -> float:
    """A number in [0, 1) for these."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4]) / 2**32


def generation_result(
    task: str = "gsm8k",
    *,
    count: int = 40,
    metrics: Sequence[str] = ("accuracy", "accuracy_released"),
    labels: Sequence[str] = LABELS,
    specs: Sequence[str] = LLAMA_7B,
    model: str = "huggyllama/llama-7b",
    groups: Sequence[str | None] = (None,),
    question: str = PLAIN,
    shares: Sequence[float] = (0.4, 0.6, 0.5),
    data_rows: int | None = None,
    data_sha256: str = "0" * 64,
) -> dict[str, Any]:
    """A result file of `dola eval` for a task that generates; `shares`: of right answers, by strategy."""
    examples = [_example(at, task, metrics, labels, groups, question, shares) for at in range(count)]
    measured = Measured(
        metrics=tuple(metrics),
        binary=tuple(metrics),
        rows=tuple(
            MeasuredRow(
                label,
                "strategy",
                at,
                per_token=False,
                per_example={
                    metric: [each["completions"][at]["measures"][metric] for each in examples]
                    for metric in metrics
                },
            )
            for at, label in enumerate(labels)
        ),
        layers=tuple(None if at == 0 else {"0": 120, "8": 40, "14": 540} for at in range(len(labels))),
        examples=tuple(examples),
        counts={"examples": count, "completions": count * len(labels)},
        speeds=tuple(Speed(count * 40, count * 40, 12.5 * (at + 1)) for at in range(len(labels))),
    )
    manifest = {
        "task": task,
        "data_sha256": data_sha256,
        "requests_sha256": "1" * 64,
        "rows": f"0 to {count - 1}, {count}",
        "model": f"name {model}",
        "dtype": "float16",
        "strategies": list(specs),
        "repetition_penalty": [1.0 if at == 0 else 1.2 for at in range(len(labels))],
        "max_new_tokens": 256,
        "do_sample": False,
        "code": "0.1.0+0123456789",
    }
    settings = Settings(
        task_title={"gsm8k": "GSM8K", "strqa": "StrategyQA", "tfqa": "TruthfulQA open-ended"}.get(task, task),
        model=model,
        data_source=f"{task} test",
        data_rows=count if data_rows is None else data_rows,
        preset="released",
        seed=42,
    )
    released = {0: {"is_correct": []}}
    result = result_of(
        measured,
        summarise(measured, seed=42),
        released,
        manifest=manifest,
        settings=settings,
        environment={},
    )
    return json.loads(json.dumps(result.to_json()))


def _example(
    at: int,
    task: str,
    metrics: Sequence[str],
    labels: Sequence[str],
    groups: Sequence[str | None],
    question: str,
    shares: Sequence[float],
) -> dict[str, Any]:
    gold: Any = at % 2 == 0 if task == "strqa" else str(at + 6)
    completions = []
    for place, label in enumerate(labels):
        right = chance(task, at, label) < shares[place % len(shares)]
        answer = None if chance(at, label, "none") < 0.05 else gold if right else _wrong(gold)
        shown = "yes" if answer is True else "no" if answer is False else answer
        text = f" Row {at}: 3 eggs at {place + 2} dollars.\n\nThe answer is {shown}.".rstrip()
        measures = {metric: float(answer == gold) for metric in metrics}
        completions.append(
            {
                "text": text,
                "raw": f"{text}\n\nQ:",
                "tokens": 30 + place,
                "finish_reason": "length" if chance(at, label, "cut") < 0.1 else "stop",
                "answer": answer if metrics else None,
                "answer_released": (f"{answer}.0" if place == 0 and at % 7 == 0 else answer)
                if metrics
                else None,
                "measures": measures,
            }
        )
    return {
        "index": at,
        "question": f"{question} {at}",
        "reference": gold if metrics else None,
        "group": groups[at % len(groups)],
        "completions": completions,
    }


def _wrong(gold: Any) -> Any:
    return (not gold) if isinstance(gold, bool) else f"{gold}1"


def rated(result: dict[str, Any]) -> dict[str, Any]:
    """A TruthfulQA result as judges leave it."""
    from dola.judges.truthful import METRICS, measures
    from dola.runs.results import KEY, row_json

    ours = result[KEY]
    rows = []
    for row in ours["rows"]:
        columns: dict[str, list[float]] = {metric: [] for metric in METRICS}
        for example in ours["examples"]:
            made = example["completions"][row["strategy"]]
            truth, info = (chance(made["text"], kind) for kind in ("truth", "info"))
            made["verdicts"] = {"truth": truth, "info": None if chance(made["text"]) < 0.05 else info}
            for metric, value in measures(made["text"], truth, made["verdicts"]["info"]).items():
                columns[metric].append(value)
        rows.append(
            MeasuredRow(row["label"], "strategy", row["strategy"], per_token=False, per_example=columns)
        )
    summary = summarise(Measured(METRICS, METRICS, tuple(rows), (), (), {}), seed=42)
    judges = {kind: {"name": f"{kind} judge", "asked": "local: some/judge"} for kind in ("truth", "info")}
    return {
        **result,
        KEY: {
            **ours,
            "metrics": list(METRICS),
            "binary": list(METRICS),
            "findings": list(summary.findings),
            "rows": [
                {**row, **{key: value for key, value in row_json(each).items() if key != "spread"}}
                for row, each in zip(ours["rows"], summary.rows, strict=True)
            ],
            "rating": {"judges": judges, "threshold": 0.5, "malformed": 0, "findings": []},
        },
    }
