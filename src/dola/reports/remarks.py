"""What stands around a result's table: the facts of the run above it, notes on its figures below."""

from __future__ import annotations

from dola.reports.reading import is_generation, place_of, reads_answers, strategy_rows
from dola.reports.ties import tied_lengths
from dola.result import Result
from dola.runs.spec import CONTRAST


def facts_of(result: Result) -> tuple[tuple[str, str], ...]:
    """What the run is of, and how it was made."""
    settings, manifest = result.settings, result.manifest
    facts = (
        ("Model", f"{settings.model} ({manifest['model']}), {manifest['dtype']}"),
        ("Data", f"{settings.data_source}, SHA-256 {manifest['data_sha256'][:12]}…"),
        ("Examples", f"{result.counts['examples']} of {settings.data_rows}"),
        ("Preset", _preset(result)),
        ("Strategies", "; ".join(_specs(result))),
        ("Made with", f"dola {manifest['code']}, seed {settings.seed}"),
    )
    if not is_generation(result):
        return facts
    return (*facts[:-1], ("Decoding", _decoding(result)), *_judges(result), facts[-1])


def _preset(result: Result) -> str:
    """The preset, and what was set otherwise for all strategies."""
    said = {
        name: value for name, value in (result.spec or {}).items() if name in CONTRAST and name != "preset"
    }
    changed = ", ".join(f"{name} {value}" for name, value in said.items())
    return f"{result.settings.preset}, but for {changed}" if changed else result.settings.preset


def _judges(result: Result) -> list[tuple[str, str]]:
    """Who rated the answers, where somebody has."""
    rating = result.rating
    if not rating:
        return []
    asked = "; ".join(f"{kind}: {judge.name} ({judge.asked})" for kind, judge in rating.judges.items())
    return [("Judges", f"{asked}; yes from a probability of {rating.threshold}")]


def _specs(result: Result) -> list[str]:
    """The strategies asked for, with their settings in this preset."""
    return [result.strategies[place_of(row)].spec for row in strategy_rows(result)]


def _decoding(result: Result) -> str:
    """How tokens were taken from the strategies' scores."""
    manifest = result.manifest
    settings = ("temperature", "top_p", "top_k", "seed")
    sampled = ", ".join(f"{name} {manifest[name]}" for name in settings if manifest.get(name) is not None)
    given = {row.label: manifest["repetition_penalty"][place_of(row)] for row in strategy_rows(result)}
    each = ", ".join(f"{penalty:g} ({label})" for label, penalty in given.items())
    penalty = each if len(set(given.values())) > 1 else f"{next(iter(given.values())):g}"
    return "; ".join(
        [
            f"sampled, {sampled}" if manifest["do_sample"] else "greedy",
            f"at most {manifest['max_new_tokens']} tokens",
            f"repetition penalty {penalty}",
        ]
    )


def notes_of(result: Result) -> list[str]:
    """What to know before reading the table."""
    counts, notes = result.counts, []
    left = result.settings.data_rows - counts["examples"]
    if left:
        notes.append(f"Only {counts['examples']} of the data's {result.settings.data_rows} rows are in it.")
    if counts.get("left_out"):
        notes.append(
            f"{counts['left_out']:,} candidate exits held NaN or infinity and were left out of the choice."
        )
    return notes + (_of_completions(result) if is_generation(result) else _of_scores(result))


def _of_completions(result: Result) -> list[str]:
    notes = []
    for row in strategy_rows(result):
        completions = [example.completions[place_of(row)] for example in result.generated]
        cut = sum(each.finish_reason == "length" for each in completions)
        lacking = sum(each.answer is None for each in completions) if reads_answers(result) else 0
        if cut or lacking:
            parts = [f"{cut} reached the longest length"] if cut else []
            parts += [f"in {lacking} no answer was found, which counts as wrong"] if lacking else []
            notes.append(f"{row.label}: of {len(completions)} completions {', '.join(parts)}.")
    return notes


def _of_scores(result: Result) -> list[str]:
    counts, notes = result.counts, []
    if counts["prompt_not_prefix"]:
        notes.append(
            f"Of {counts['answers']} answers {counts['prompt_not_prefix']} change how the prompt's end is"
            " tokenised; scored is, as released, what comes after as many tokens as the prompt has."
        )
    if counts["truncated"]:
        notes.append(f"{counts['truncated']} prompts were cut on the left to fit the model's context.")
    for label, count in _underflows(result).items():
        notes.append(
            f"{label}: in {count} questions the released code's MC2 under- or overflows (it then halves"
            " scores, or writes 0); MC2 here is computed through log-sum-exp, and the released figure is"
            " total_mc2_released."
        )
    return notes + tied_lengths(result)


def _underflows(result: Result) -> dict[str, int]:
    found = {}
    for row in strategy_rows(result):
        released = result.strategies[place_of(row)].released or {}
        count = released.get("mc2_underflows", 0) + released.get("mc2_overflows", 0)
        if count:
            found[row.label] = count
    return found
