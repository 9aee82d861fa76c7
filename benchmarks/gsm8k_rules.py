"""Which number a GSM8K completion answers with, by five rules: how often they agree, and where they do not.

    python benchmarks/gsm8k_rules.py make completions.jsonl       # the embedded model writes; resumed
    python benchmarks/gsm8k_rules.py compare completions.jsonl    # needs dola[lm-eval] for math-verify

The completions are 400: a hundred in each of four forms, since a rule is as good as the form it is read in:
`released` (the released script's eight examples, "The answer is 18."), `hashes` (two of the training file's
solutions as they are, "#### 18"), `boxed` (the chat template, told to box the answer) and `chat` (the chat
template and the question alone). Greedy, vanilla, `--limit` in each form, 128 tokens at most.

The two filters of lm-evaluation-harness are written anew from its task's settings: of a text up to
"Question:", "strict-match" takes the number behind the first "#### ", "flexible-extract" the last thing of
digits, points, commas and dollars; texts are then compared without commas, dollars and a last full stop.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import combinations
from pathlib import Path
from typing import Any

from dola.tasks.gsm8k import Example, Gsm8k
from dola.tasks.gsm8k_answer import answer, released_answer, released_gold
from dola.tasks.numbers import plain
from dola.tasks.prompts import load_demonstrations

FORMS = ("released", "hashes", "boxed", "chat")
Reading = str | None

_STRICT = re.compile(r"#### (-?[0-9.,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("make", "compare"))
    parser.add_argument("completions", type=Path)
    parser.add_argument("--data-path", type=Path)
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--model-name", default="smollm2")
    parser.add_argument("--limit", type=int, default=100, help="completions in each form")
    parser.add_argument("--batch-size", type=int, default=36)
    parser.add_argument("--show", action="store_true", help="each completion that the rules read differently")
    options = parser.parse_args()
    task = Gsm8k(load_demonstrations("gsm8k", options.prompts))
    make(task, options) if options.command == "make" else compare(task, options)


def make(task: Gsm8k, options: argparse.Namespace) -> None:
    """Write what is not written yet, form by form; each has other questions."""
    import dola

    lm = dola.load(options.model_name, dtype="float32")
    path, limit = options.completions, options.limit
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    done = {(made["form"], made["index"]) for made in map(json.loads, lines)}
    examples = task.load(options.data_path).examples
    shots = task.load(options.data_path, version="train").examples[:2]
    with path.open("a", encoding="utf-8") as file:
        for number, form in enumerate(FORMS):
            part = [e for e in examples[number * limit : (number + 1) * limit] if (form, e.index) not in done]
            prompts = [prompt_of(form, task, example, shots, lm) for example in part]
            stop = task.stop if form == "released" else ("Question:",) if form == "hashes" else ()
            for at, made in lm.iter_generate(
                prompts, max_new_tokens=128, stop=stop, batch_size=options.batch_size
            ):
                row = {"form": form, "index": part[at].index, "raw": made.raw_text, "text": made.text}
                file.write(json.dumps(row) + "\n")
                file.flush()


def prompt_of(form: str, task: Gsm8k, example: Example, shots: tuple[Example, ...], lm: Any) -> str:
    if form == "released":
        return task.prompt(example)
    if form == "hashes":
        solved = "".join(f"Question: {shot.question}\nAnswer: {shot.solution}\n\n" for shot in shots)
        return f"{solved}Question: {example.question}\nAnswer:"
    told = (
        "\nPlease reason step by step, and put your final answer within \\boxed{}." if form == "boxed" else ""
    )
    return str(lm.chat_prompt([{"role": "user", "content": example.question + told}]))


def compare(task: Gsm8k, options: argparse.Namespace) -> None:
    """Print accuracies and the share of completions that each two rules read alike."""
    examples = {example.index: example for example in task.load(options.data_path).examples}
    rows = [json.loads(line) for line in options.completions.read_text(encoding="utf-8").splitlines()]
    rules = dict(readers())
    read = [{name: rule(row, examples[row["index"]]) for name, rule in rules.items()} for row in rows]
    for form in (*FORMS, None):
        of_form = [at for at, row in enumerate(rows) if form in (None, row["form"])]
        if not of_form:
            continue
        print(f"\n{form or 'all'}: {len(of_form)} completions")
        for name in rules:
            right = sum(read[at][name][1] for at in of_form)
            none = sum(read[at][name][0] is None for at in of_form)
            print(f"  {name:<18} right {right:>4}   no number {none:>4}")
        for one, other in combinations(rules, 2):
            alike = sum(same(read[at][one][0], read[at][other][0]) for at in of_form)
            print(f"  {one} ~ {other}: {alike} of {len(of_form)}")
    patterns = Counter(tuple(one[name][1] for name in rules) for one in read)
    print("\nright by", ", ".join(rules), *(f"\n  {count:>4} {key}" for key, count in patterns.most_common()))
    if options.show:
        for row, one in zip(rows, read, strict=True):
            values = {name: reading for name, (reading, _) in one.items() if name != "strict-match"}
            if any(not same(a, b) for a, b in combinations(values.values(), 2)):
                reference = plain(examples[row["index"]].value)
                print(f"\n--- {row['form']} {row['index']} reference {reference} {values}\n{row['raw']}")


def readers() -> Iterator[tuple[str, Callable[[dict[str, Any], Example], tuple[Reading, bool]]]]:
    """Name, and what says the reading and whether it is right by that rule's own way to compare."""
    yield (
        "released",
        lambda row, example: _texts(released_answer(row["raw"]), released_gold(example.solution)),
    )
    yield "corrected", lambda row, example: _texts(answer(row["text"]), plain(example.value))
    for name, pattern, which in (("strict-match", _STRICT, 0), ("flexible-extract", _FLEXIBLE, -1)):
        yield name, lambda row, example, pattern=pattern, which=which: _harness(row, example, pattern, which)
    try:
        from math_verify import parse, verify
    except ImportError:
        print("without math-verify: pip install 'dola[lm-eval]'")
        return

    def by_math_verify(row: dict[str, Any], example: Example) -> tuple[Reading, bool]:
        found = parse(row["text"])
        return str(found[-1]) if found else None, bool(verify(parse(plain(example.value)), found))

    yield "math-verify", by_math_verify


def _texts(found: Reading, reference: Reading) -> tuple[Reading, bool]:
    return found, found == reference


def _harness(
    row: dict[str, Any], example: Example, pattern: re.Pattern[str], which: int
) -> tuple[Reading, bool]:
    found = [match[match.lastindex or 0] for match in pattern.finditer(row["raw"].partition("Question:")[0])]
    reading = found[which] if found else None
    return reading, _bare(reading) == _bare(example.solution)


def _bare(text: Reading) -> str:
    return re.sub(r"\.$", "", re.sub(r"(?s),|\$|.*#### ", "", text or "[invalid]")).lower()


def same(one: Reading, other: Reading) -> bool:
    """Whether two readings are one value, or both are none."""
    if one is None or other is None:
        return one is other
    values = [_value(text) for text in (one, other)]
    return values[0] == values[1] if None not in values else _bare(one) == _bare(other)


def _value(text: str) -> Decimal | None:
    try:
        return Decimal(re.sub(r"[,$]|\.$", "", text))
    except InvalidOperation:
        read = answer(f"The answer is {text}")  # an expression of math-verify's
        return None if read is None else Decimal(read)


if __name__ == "__main__":
    main()
