"""A generation run: what is generated, what is kept, what is tried again, and what it is resumed under."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dola.errors import RunError
from dola.runs.completions import Completion, GenerationRecord, open_completions
from dola.runs.generating import Batch, LocalGenerating, generate_missing, lacking
from dola.runs.generation_measured import measure_generation, outcome_of, penalty_findings
from dola.runs.generation_plan import Decoding, GenerationConfig, GenerationPlan, make_generation_plan
from dola.runs.journal import records_path
from dola.runs.plan import Selection
from dola.runs.variants import line_up
from dola.strategies import DoLa, Vanilla
from dola.tasks.prompts import load_demonstrations
from dola.tasks.stops import STOPS
from dola.tasks.strqa import StrategyQA
from dola.tasks.subset import Shard
from dola.tasks.vicuna import Vicuna
from fake_completions import FakeLanguageModel
from tiny_language_model import tiny_language_model

DATA = Path(__file__).parent / "data"
SAMPLED = Decoding(16, do_sample=True, seed=42)
VANILLA, LOW = Vanilla(mature_layer=8), DoLa((0, 2), mature_layer=8)


def plan(shuffle_seed: int | None = None, **changes: Any) -> GenerationPlan:
    task = StrategyQA(load_demonstrations("strqa", DATA / "prompts"), shuffle_seed)
    config = GenerationConfig("model", "float32", ("-1", "low"), (1.0, 1.2), Decoding(16), Selection())
    return make_generation_plan(task, task.load(DATA / "strategyqa"), replace(config, **changes))


@dataclass
class Scripted:
    """Answers as it is told, by attempt, whatever the question; counts what it was asked."""

    texts: tuple[str, ...] = ("So the answer is yes.",)

    def __post_init__(self) -> None:
        self.batches: list[Batch] = []

    def generate(self, batch: Batch) -> Iterator[tuple[int, Completion]]:
        attempt = sum(each.strategy == batch.strategy for each in self.batches)
        self.batches.append(batch)
        text = self.texts[min(attempt, len(self.texts) - 1)]
        for which in reversed(range(len(batch.prompts))):
            yield which, Completion(text, f"{text}\n\nQ: next", 4, 90, "stop", {"2": 3, "0": 1}, 0.5)


class InMemory:
    """Records that nobody reads again."""

    def __init__(self) -> None:
        self.done: dict[Any, GenerationRecord] = {}

    def append(self, record: GenerationRecord) -> None:
        self.done[record.key] = record


def generated(output: Path, made: GenerationPlan, executor: Any) -> dict[Any, GenerationRecord]:
    with open_completions(output, made.manifest) as records:
        generate_missing(made, executor, records)
        return dict(records.done)


def test_every_strategy_has_a_record_of_every_example(tmp_path: Path) -> None:
    made = plan()
    done = generated(tmp_path / "o", made, Scripted())
    assert set(done) == {(example.index, place) for example in made.examples for place in (0, 1)}


def test_records_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    made = plan()
    first = generated(tmp_path / "o", made, LocalGenerating(FakeLanguageModel(), (VANILLA, LOW)))
    assert {record.layers is None for record in first.values()} == {True, False}
    with open_completions(tmp_path / "o", made.manifest) as records:
        assert records.done == first


def test_only_what_is_missing_is_generated(tmp_path: Path) -> None:
    made = plan()
    whole = generated(tmp_path / "whole", made, Scripted())
    with open_completions(tmp_path / "part", made.manifest) as records:
        for key in list(whole)[:2]:
            records.append(whole[key])
        assert lacking(made, records) == len(whole) - 2
    executor = Scripted()
    assert generated(tmp_path / "part", made, executor) == whole
    assert sum(len(batch.prompts) for batch in executor.batches) == len(whole) - 2


def test_each_strategy_has_its_own_repetition_penalty_and_the_tasks_stop_strings() -> None:
    executor, made = Scripted(), plan()
    generate_missing(made, executor, InMemory())
    assert [batch.repetition_penalty for batch in executor.batches] == [1.0, 1.2]
    assert {batch.stop for batch in executor.batches} == {STOPS["strqa"]}


def test_what_has_no_answer_is_tried_again_and_layers_of_all_attempts_are_counted(tmp_path: Path) -> None:
    made = plan(decoding=SAMPLED, attempts=3)
    executor = Scripted(("Hm.", "Hm, well.", "So the answer is no."))
    record = generated(tmp_path / "o", made, executor)[0, 0]
    assert (record.attempts, record.text) == (3, "So the answer is no.")
    assert record.layers == {"0": 3, "2": 9}
    assert record.tokens == 4


def test_the_last_attempt_is_kept_without_an_answer_too(tmp_path: Path) -> None:
    made = plan(decoding=SAMPLED, attempts=2)
    assert {each.attempts for each in generated(tmp_path / "o", made, Scripted(("Hm.",))).values()} == {2}


def test_what_has_an_answer_is_not_tried_again(tmp_path: Path) -> None:
    made = plan(decoding=SAMPLED, attempts=5)
    assert {each.attempts for each in generated(tmp_path / "o", made, Scripted()).values()} == {1}


def test_greedy_decoding_of_the_same_prompt_is_never_repeated(tmp_path: Path) -> None:
    executor = Scripted(("Hm.",))
    generated(tmp_path / "o", plan(attempts=5), executor)
    assert len(executor.batches) == 2


def test_an_attempt_draws_otherwise_than_the_one_before() -> None:
    executor = Scripted(("Hm.",))
    generate_missing(plan(decoding=SAMPLED, attempts=3), executor, InMemory())
    seeds = [batch.decoding.seed for batch in executor.batches]
    assert seeds[0] == 42
    assert len(set(seeds)) == 3
    assert seeds[:3] == seeds[3:]


def test_a_prompt_that_is_there_twice_is_drawn_twice_also_when_a_run_is_gone_on_with() -> None:
    made = plan(decoding=SAMPLED)
    prompts, copies = made.prompts, made.copies
    assert set(copies) == {0}
    made = replace(made, prompts=(prompts[0], *prompts[:-1]), copies=(0, 1, *copies[2:]))
    whole, rest = Scripted(), Scripted()
    generate_missing(made, whole, InMemory())
    done = InMemory()
    done.done = {(made.examples[0].index, 0): None}
    generate_missing(made, rest, done)

    def seeds(executor: Scripted, prompt: str) -> list[int | None]:
        drawn = [each for each in executor.batches if each.strategy == 0]
        return [each.decoding.seed for each in drawn for one in each.prompts if one == prompt]

    first, second = seeds(whole, prompts[0])
    assert first == 42 != second
    assert seeds(rest, prompts[0]) == [second]


def test_which_copy_of_a_prompt_a_row_is_does_not_depend_on_what_part_of_the_data_is_generated() -> None:
    task = StrategyQA(load_demonstrations("strqa", DATA / "prompts"))
    data = task.load(DATA / "strategyqa")
    twice = replace(data, examples=(*data.examples, replace(data.examples[0], index=99)))
    config = GenerationConfig("model", "float32", ("-1",), (1.0,), SAMPLED, Selection())
    assert make_generation_plan(task, twice, config).copies[-1] == 1
    count = len(twice.examples)
    last = replace(config, selection=Selection(Shard(count - 1, count)))
    assert make_generation_plan(task, twice, last).copies == (1,)
    assert set(make_generation_plan(task, twice, replace(config, decoding=Decoding(4))).copies) == {0}


def test_a_shuffled_prompt_is_another_one_at_each_attempt() -> None:
    executor = Scripted(("Hm.",))
    generate_missing(plan(shuffle_seed=1, shuffled=True, attempts=2), executor, InMemory())
    first, second = executor.batches[:2]
    assert first.prompts != second.prompts
    assert executor.batches[2].prompts == first.prompts


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"penalties": (1.2, 1.2)}, "the repetition penalties, one a strategy: recorded [1.0, 1.2]"),
        ({"decoding": Decoding(17)}, "--max-new-tokens: recorded 16, now 17"),
        ({"decoding": SAMPLED}, "--do_sample: recorded false, now true; --temperature"),
        ({"strategies": ("-1", "high")}, "the strategies"),
        ({"shuffle_seed": 3}, "the prompts"),
    ],
)
def test_what_a_text_depends_on_is_compared_when_a_run_is_gone_on_with(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    generated(tmp_path / "o", plan(), Scripted())
    with pytest.raises(RunError) as caught, open_completions(tmp_path / "o", plan(**changes).manifest):
        pass
    assert named in str(caught.value)


@pytest.mark.parametrize("changed", [{"seed": 43}, {"temperature": 0.5}, {"top_p": 0.5}, {"top_k": 5}])
def test_settings_of_the_sampling_are_compared_where_it_samples(changed: dict[str, Any]) -> None:
    name = next(iter(changed))
    sampled = [plan(decoding=replace(SAMPLED, **each)).manifest for each in ({}, changed)]
    assert sampled[0][name] != sampled[1][name]
    greedy = [plan(decoding=replace(Decoding(16), **each)).manifest for each in ({}, changed)]
    assert greedy[0] == greedy[1]


def test_how_an_answer_is_read_may_change_under_a_run() -> None:
    task = StrategyQA(load_demonstrations("strqa", DATA / "prompts"))
    manifests = [
        make_generation_plan(
            replace(task, extraction=how), task.load(DATA / "strategyqa"), plan().config
        ).manifest
        for how in ("own", "released")
    ]
    assert manifests[0] == manifests[1]


def test_a_question_for_the_chat_template_is_another_prompt_than_the_same_text() -> None:
    class Bare:
        def prompt(self, question: str) -> str:
            return question

    data = DATA / "vicuna" / "question.jsonl"
    digests = []
    for template in (None, Bare()):
        task = Vicuna("m", template)
        digests.append(make_generation_plan(task, task.load(data), plan().config).manifest["requests_sha256"])
    assert digests[0] != digests[1]


def test_a_chat_task_goes_through_the_models_own_template() -> None:
    lm, task = FakeLanguageModel(), Vicuna("m")
    made = make_generation_plan(task, task.load(DATA / "vicuna" / "question.jsonl"), plan().config)
    generate_missing(made, LocalGenerating(lm, (VANILLA, LOW)), InMemory())
    assert lm.calls[0][0][0] == "<user>Write a poem about rain.<assistant>"


def test_tokens_a_second_are_of_the_time_spent_generating(tmp_path: Path) -> None:
    made = plan()
    done = generated(tmp_path / "o", made, Scripted())
    lineup = line_up([("vanilla", Vanilla()), ("low", LOW)], variants=False)
    measured = measure_generation(made, lineup, [outcome_of(made, place, done) for place in (0, 1)])
    count = len(made.examples)
    assert [speed.tokens for speed in measured.speeds] == [4 * count] * 2
    assert measured.speeds[0].tokens_per_second == pytest.approx(8.0)
    assert measured.layers == ({"0": count, "2": 3 * count},) * 2


def test_different_penalties_of_what_is_compared_are_a_finding() -> None:
    assert penalty_findings([("vanilla", 1.0), ("low", 1.0)]) == []
    (said,) = penalty_findings([("vanilla", 1.0), ("low", 1.2), ("high", 1.2)])
    assert "1.0 for vanilla; 1.2 for low, high" in said
    assert "--repetition_penalty 1.2" in said


def test_a_real_model_interrupted_and_resumed_comes_to_the_same_texts(tmp_path: Path) -> None:
    lm = tiny_language_model()
    depth = lm.depth.num_layers
    strategies = (Vanilla(), DoLa((0,), mature_layer=depth))
    executor = LocalGenerating(lm, strategies, 4)
    made = plan(decoding=replace(SAMPLED, max_new_tokens=6))
    # Prompts of bytes are long: of the task's own only the ends fit into the tiny model.
    made = replace(made, prompts=tuple(prompt[-40:] for prompt in made.prompts))
    whole = generated(tmp_path / "whole", made, executor)
    with open_completions(tmp_path / "part", made.manifest) as records:
        for key in list(whole)[1:3]:
            records.append(whole[key])
    resumed = generated(tmp_path / "part", made, executor)
    assert {key: replace(each, seconds=None) for key, each in resumed.items()} == {
        key: replace(each, seconds=None) for key, each in whole.items()
    }
    assert all(record.tokens and record.raw for record in whole.values())


def test_a_sampled_run_cut_anywhere_goes_on_to_the_texts_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Repeated questions and second attempts too, whatever number of rows is generated at a time."""
    lm = tiny_language_model()
    strategies = (Vanilla(), DoLa((0,), mature_layer=lm.depth.num_layers))

    class Short(StrategyQA):
        """Prompts of bytes are long: of the task's own only the ends fit into the tiny model."""

        def prompt(self, example: Any, *, attempt: int = 0) -> str:
            return f"{example.index % 2}: the sun"

    task = Short(load_demonstrations("strqa", DATA / "prompts"))
    config = replace(plan().config, decoding=replace(SAMPLED, max_new_tokens=6), attempts=2)
    made = make_generation_plan(task, task.load(DATA / "strategyqa"), config)
    assert made.copies == (0, 0, 1)
    whole = generated(tmp_path / "whole", made, LocalGenerating(lm, strategies, 3))
    assert whole[0, 0].raw != whole[2, 0].raw
    assert {record.attempts for record in whole.values()} == {2}
    lines = records_path(tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for kept, batch_size in ((1, 1), (2, 2), (4, 1), (6, 3)):
        records_path(tmp_path / "part").write_bytes(b"".join(lines[:kept]) + lines[kept][:9])
        resumed = generated(tmp_path / "part", made, LocalGenerating(lm, strategies, batch_size))
        for key, record in whole.items():
            assert replace(resumed[key], seconds=None) == replace(record, seconds=None)
