"""A judge of one's own: split by question, trained, resumed, measured honestly, and loaded again."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from dola.cli.judge_train import train
from dola.errors import DataError, JudgeError, ModelError, RunError
from dola.judges.accuracy import agreements
from dola.judges.baselines import bag_of_words, majority
from dola.judges.card import is_judge, judge_prompt, read_card
from dola.judges.fine_tuning import read_job
from dola.judges.lora import LoraSettings, prepare
from dola.judges.trained import load_trained
from dola.judges.training import check_free, train_adapter
from dola.judges.training_data import (
    JudgeExample,
    questions_of,
    read_training_data,
    sampled,
    split_by_question,
)
from dola.judges.yes_no import AnswerTokens, answer_tokens, last_logits, padded, probabilities_of_yes
from dola.models.placement import Placement
from judge_server import JudgeServer
from tiny_language_model import byte_tokenizer
from tiny_models import tiny_model


def example(question: str, answer: str, *, yes: bool) -> JudgeExample:
    return JudgeExample(judge_prompt("truth", question, answer), question, answer, yes)


def some_examples(count: int = 60) -> list[JudgeExample]:
    """What people say yes to shows in the answer alone, three answers a question."""
    draw = random.Random(1)
    rows = []
    for at in range(count):
        yes = draw.random() < 0.5
        rows.append(example(f"What is {at // 3}?", f"{at % 3} {'zzzz' if yes else 'aa'}", yes=yes))
    return rows


def write_examples(path: Path, rows: Sequence[JudgeExample]) -> Path:
    lines = ({"prompt": row.prompt, "completion": row.completion} for row in rows)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model in a folder, whose tokenizer has the two answers."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([" yes", " no"])
    tokenizer.save_pretrained(folder)
    model = tiny_model("llama", vocab_size=len(tokenizer), num_hidden_layers=2)
    with torch.no_grad():
        model.lm_head.weight.mul_(8)  # a random head is too flat to be sure of anything
    model.save_pretrained(folder)
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(train, [str(each) for each in arguments])


# The data and its two sides.

questions = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=6)


@given(st.lists(questions, min_size=1, max_size=40), st.floats(0.05, 0.95), st.integers(0, 5))
def test_no_question_is_on_both_sides_and_no_example_is_lost(
    names: list[str], share: float, seed: int
) -> None:
    rows = [example(name, str(at), yes=bool(at % 2)) for at, name in enumerate(names)]
    try:
        split = split_by_question(rows, held_out=share, seed=seed)
    except DataError:
        assert round(share * len(set(questions_of(rows)))) in (0, len(set(questions_of(rows))))
        return
    assert not set(questions_of(split.train)) & set(questions_of(split.held_out))
    assert sorted(map(repr, split.train + split.held_out)) == sorted(map(repr, rows))
    assert split.train
    assert split.held_out


def test_the_split_depends_on_seed_and_question_alone() -> None:
    rows = some_examples()
    split = split_by_question(rows, held_out=0.3, seed=0)
    again = split_by_question(rows[::-1], held_out=0.3, seed=0)
    other = split_by_question(rows, held_out=0.3, seed=1)
    assert set(split.held_out) == set(again.held_out)
    assert set(split.held_out) != set(other.held_out)
    assert len(set(questions_of(split.held_out))) == 6


def test_spelling_makes_no_other_question() -> None:
    assert (
        len(set(questions_of([example(q, "x", yes=True) for q in ("Is it so?", "is  it so", "Is it so ?")])))
        == 1
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", "'prompt'"),
        ('{"prompt": 3, "completion": " yes"}', "found 3"),
        ('{"prompt": "Q: a\\nA: b\\nTrue:", "completion": "yes"}', "neither"),
        ('{"prompt": "Q: a\\nA: b\\nHelpful:", "completion": " yes"}', "Helpful"),
        ('{"prompt": "Q: a b\\nTrue:", "completion": " no"}', "expected a line like"),
    ],
)
def test_a_bad_line_is_refused_with_its_place_and_what_was_expected(
    tmp_path: Path, line: str, said: str
) -> None:
    path = write_examples(tmp_path / "some.jsonl", some_examples(2))
    path.write_text(path.read_text() + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_training_data(path, "truth")
    assert str(caught.value).startswith(f"{path}:4: ")
    assert said in str(caught.value)
    assert 'expected a line like {"prompt": "Q: …\\nA: …\\nTrue:", "completion": " yes"}' in str(caught.value)


def test_question_and_answer_are_what_the_prompt_was_made_of(tmp_path: Path) -> None:
    rows = [example("Who?", "He.\nA: She.", yes=False), example("{answer}", "{question}", yes=True)]
    assert list(read_training_data(write_examples(tmp_path / "x", rows), "truth").examples) == rows


@pytest.mark.shared
def test_the_released_data_is_what_is_pinned(shared: Path) -> None:
    from dola.tasks.sources import JUDGE_TRAINING

    sides = []
    for kind in ("truth", "info"):
        data = read_training_data(shared / "data" / "truthfulqa" / f"finetune_{kind}.jsonl", kind)
        assert data.sha256 == JUDGE_TRAINING[kind].sha256
        assert len(data.examples) == 22_434
        sides.append(set(questions_of(split_by_question(data.examples, held_out=0.2, seed=0).held_out)))
    assert len(sides[0]) == 163
    assert sides[0] == sides[1]


# The figures.


def test_figures_are_of_answers_and_their_intervals_of_questions() -> None:
    people = [True, True, False, False] * 10
    alike = [f"q{at // 4}" for at in range(40)]
    said = {"judge": [True, True, True, False] * 10, "always": [True] * 40}
    judge, always = agreements(said, people, alike, seed=0)
    assert judge.accuracy.value == pytest.approx(0.75)
    assert judge.balanced.value == pytest.approx((1.0 + 0.5) / 2)
    assert judge.said_yes == (20, 10)
    assert judge.over_first == replace(judge.over_first, value=0.0, low=0.0, high=0.0)
    assert always.balanced.value == pytest.approx(0.5)
    assert always.over_first.value == pytest.approx(-0.25)
    # Every question has the same figures, so other questions of the kind would have them too.
    assert (judge.accuracy.low, judge.accuracy.high) == (0.75, 0.75)


def test_answers_to_one_question_count_as_one_observation() -> None:
    right = [at % 2 == 0 for at in range(10) for _ in range(20)]
    people = [True] * 200
    together = agreements({"j": right}, people, [f"q{at // 20}" for at in range(200)], seed=0)[0].accuracy
    apart = agreements({"j": right}, people, [f"q{at}" for at in range(200)], seed=0)[0].accuracy
    assert together.low is not None
    assert apart.low is not None
    assert together.value == apart.value == 0.5
    assert 0.5 - together.low > 3 * (0.5 - apart.low)


def test_a_single_question_has_no_interval_and_people_of_one_mind_no_balance() -> None:
    only = agreements({"j": [True, False]}, [True, True], ["q", "q"], seed=0)[0]
    assert (only.accuracy.value, only.accuracy.low, only.balanced.value) == (0.5, None, None)


def test_the_baselines_learn_from_the_training_side_alone() -> None:
    rows = some_examples()
    split = split_by_question(rows, held_out=0.3, seed=0)
    commoner = 2 * sum(row.yes for row in split.train) >= len(split.train)
    assert majority(split.train, split.held_out) == [commoner] * len(split.held_out)
    assert bag_of_words(split.train, split.held_out) == [row.yes for row in split.held_out]
    turned = [replace(row, yes=not row.yes) for row in split.train]
    assert bag_of_words(turned, split.held_out) == [not row.yes for row in split.held_out]


# The model.


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "bloom", "mamba"])
def test_a_prompt_is_judged_in_a_batch_as_alone(model_type: str) -> None:
    model = tiny_model(model_type)
    rows = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [20, 21]]
    tokens = AnswerTokens(30, 31)
    together = probabilities_of_yes(model, rows, tokens, pad=0, batch_size=3)
    for row, found in zip(rows, together, strict=True):
        with torch.inference_mode():
            plain = model(input_ids=torch.tensor([row])).logits[0, -1].softmax(-1)[30]
        assert found == pytest.approx(float(plain), abs=1e-5)


def test_the_last_logits_are_of_each_rows_own_end() -> None:
    model = tiny_model("llama")
    inputs = padded([[1, 2, 3], [4, 5, 6, 7, 8]], 0)
    with torch.inference_mode():
        whole = model(**inputs).logits
        last = last_logits(model, **inputs)
    torch.testing.assert_close(last, torch.stack([whole[0, 2], whole[1, 4]]))


def test_a_tokenizer_that_cannot_tell_the_answers_apart_is_refused() -> None:
    with pytest.raises(ModelError, match="same token"):
        answer_tokens(byte_tokenizer(), "Q: a\nA: b\nTrue:")


def train_tiny(tiny: Path, folder: Path, settings: LoraSettings, *, stop_at: int | None = None) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def advance(done: int, total: int, loss: float | None) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    train_adapter(
        AutoModelForCausalLM.from_pretrained(tiny),
        tokenizer,
        prepare(tokenizer, some_examples(24), settings.max_length),
        settings,
        folder,
        base_model="tiny",
        fingerprint={"data": "some"},
        advance=advance,
    )


def test_an_interrupted_training_leaves_no_judge_and_goes_on_to_the_same_one(
    tiny: Path, tmp_path: Path
) -> None:
    settings = LoraSettings(batch_size=4, save_every=2, rank=2)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tiny, tmp_path / "one", settings, stop_at=5)
    assert [path.name for path in (tmp_path / "one").iterdir()] == [".training"]
    assert not is_judge(tmp_path / "one")
    with pytest.raises(RunError, match="other settings"):
        train_tiny(tiny, tmp_path / "one", replace(settings, rank=4))
    train_tiny(tiny, tmp_path / "one", settings)
    before = random.getstate(), torch.get_rng_state().tolist()
    train_tiny(tiny, tmp_path / "two", settings)
    assert (random.getstate(), torch.get_rng_state().tolist()) == before  # a seed is the training's alone
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in two.items():
        torch.testing.assert_close(one[name], weight)


def test_a_checkpoint_that_was_cut_short_is_passed_over(tiny: Path, tmp_path: Path) -> None:
    settings = LoraSettings(batch_size=4, save_every=2, rank=2)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(tiny, tmp_path / "one", settings, stop_at=5)
    (tmp_path / "one" / ".training" / "checkpoint-4" / "trainer_state.json").unlink()
    train_tiny(tiny, tmp_path / "one", settings)
    assert (tmp_path / "one" / "adapter_config.json").is_file()


def test_examples_longer_than_asked_for_are_left_out_and_counted(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [example("a", "b", yes=True), example("a", "b" * 100, yes=False)]
    prepared = prepare(tokenizer, rows, 50)
    assert (len(prepared.rows), prepared.left_out) == (1, 1)
    assert prepared.answers == (prepared.tokens.yes,)
    with pytest.raises(DataError, match="--max-length"):
        prepare(tokenizer, rows, 5)


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RunError, match="something else"):
        check_free(tmp_path)
    check_free(tmp_path / "new")


def test_a_judge_learns_what_shows_in_the_answer_and_comes_back_as_it_was_measured(
    tiny: Path, tmp_path: Path
) -> None:
    data = write_examples(tmp_path / "some.jsonl", some_examples(120))
    folder = tmp_path / "judge"
    common = ("truth", "-o", folder, "--data-path", data, "--model-name", tiny, "--device", "cpu")
    settings = ("--epochs", 6, "--batch-size", 8, "--learning-rate", 0.01, "--rank", 8, "--held-out", 0.3)
    planned = run(*common, *settings, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "steps over" in planned.stderr
    assert not folder.exists()

    made = run(*common, *settings)
    assert made.exit_code == 0, made.output
    assert "more accurate than majority class" in made.stdout
    card = read_card(folder)
    judge, commoner, bag = card.held_out["judges"]
    assert (commoner["name"], bag["name"]) == ("majority class", "bag of words")
    assert judge["accuracy"]["value"] > 0.9
    assert card.split["held_out"]["used_questions"] == 12
    assert card.data["sha256"] == read_training_data(data, "truth").sha256
    assert not (folder / ".training").exists()
    assert (
        str(tiny)
        == card.base_model
        == json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    )

    kept = [json.loads(line) for line in (folder / "held_out.jsonl").read_text().splitlines()]
    trained = load_trained(folder, Placement("cpu"))
    rows = [trained.tokenizer(line["prompt"])["input_ids"] for line in kept]
    tokens = AnswerTokens(card.yes_token, card.no_token)
    found = probabilities_of_yes(trained.model, rows, tokens, pad=0, batch_size=5)
    assert found == pytest.approx([line["p_yes"] for line in kept], abs=1e-3)

    again = run(*common, *settings)
    assert isinstance(again.exception, RunError)
    assert "holds a judge already" in str(again.exception)


def test_a_sample_is_of_that_size_and_in_order() -> None:
    rows = some_examples()
    drawn = sampled(rows, 10, seed=0)
    assert len(drawn) == 10
    assert [rows.index(row) for row in drawn] == sorted(rows.index(row) for row in drawn)
    assert sampled(rows, 1000, seed=0) == tuple(rows)


# A job at an endpoint.


@dataclass(frozen=True)
class Hosted:
    server: JudgeServer
    data: Path
    folder: Path

    def run(self, *more: object) -> Result:
        where = ("--base-url", self.server.base_url, "--endpoint-model", "davinci-002", "-o", self.folder)
        return run("truth", "--data-path", self.data, *where, "--max-retries", 1, *more)

    @property
    def started(self) -> int:
        """Jobs that the endpoint has, each of which costs money."""
        return len(self.server.jobs)


@pytest.fixture
def hosted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr("dola.cli.judge_train_hosted._SECONDS", 0.01)
    with JudgeServer() as server:
        data = write_examples(tmp_path / "some.jsonl", some_examples())
        yield Hosted(server, data, tmp_path / "job")


def test_a_dry_run_asks_the_endpoint_for_nothing(hosted: Hosted) -> None:
    planned = hosted.run("--dry-run", "--measure")
    assert planned.exit_code == 0, planned.output
    assert "training: 48 examples" in planned.stdout
    assert "12 calls" in planned.stdout
    assert hosted.server.requests == []
    assert not hosted.folder.exists()


def test_a_job_is_started_once_with_the_training_side_alone(hosted: Hosted) -> None:
    first = hosted.run("--suffix", "truth")
    assert first.exit_code == 0, first.output
    assert "job ftjob-1: queued" in first.stdout
    assert "started: ftjob-1" in first.stderr
    trained = (hosted.folder / "train.jsonl").read_bytes()
    held_out = (hosted.folder / "held_out.jsonl").read_bytes().splitlines()
    assert len(hosted.server.uploaded) == 1
    assert trained.strip() in hosted.server.uploaded[0].replace(b"\r\n", b"\n")
    assert not any(line in hosted.server.uploaded[0] for line in held_out)
    assert (len(trained.splitlines()), len(held_out)) == (48, 12)
    second = hosted.run("--suffix", "truth")
    assert "job ftjob-1: running" in second.stdout
    third = hosted.run("--suffix", "truth", "--wait")
    assert '"gpt_truth": "ft:davinci-002:test"' in third.stdout
    assert hosted.started == 1
    assert "sk-secret" not in "".join(path.read_text() for path in hosted.folder.iterdir())


def test_the_job_s_model_is_measured_and_no_verdict_is_paid_for_twice(hosted: Hosted) -> None:
    hosted.server.completion = lambda prompt: {" yes": -0.1 if "zzzz" in prompt else -5.0}
    measured = hosted.run("--measure")
    assert measured.exit_code == 0, measured.output
    assert "100.0 (100.0–100.0)" in measured.stdout
    assert hosted.server.count("/completions") == 12
    figures = json.loads((hosted.folder / "held_out.json").read_text())
    assert figures["held_out"]["judges"][0]["accuracy"]["value"] == 1.0
    assert figures["malformed"] == 0
    assert hosted.run("--measure").exit_code == 0
    assert hosted.server.count("/completions") == 12


def test_a_verdict_that_makes_no_sense_is_counted(hosted: Hosted) -> None:
    assert hosted.run("--wait").exit_code == 0
    hosted.server.misbehave("malformed")
    measured = hosted.run("--measure")
    assert "1 verdicts made no sense and count as no" in measured.stderr
    assert json.loads((hosted.folder / "held_out.json").read_text())["malformed"] == 1


def test_a_job_whose_start_got_no_answer_is_found_again(hosted: Hosted) -> None:
    hosted.server.misbehave("ok", "lost")
    assert isinstance(hosted.run().exception, JudgeError)
    assert hosted.started == 1
    assert hosted.run().exit_code == 0
    assert hosted.started == 1
    assert read_job(hosted.folder) is not None


def test_an_upload_that_was_refused_is_tried_again_by_the_same_command(hosted: Hosted) -> None:
    hosted.server.misbehave("400")
    assert isinstance(hosted.run().exception, JudgeError)
    assert hosted.run().exit_code == 0
    assert hosted.started == 1


def test_a_job_that_fails_is_told_with_its_reason(hosted: Hosted) -> None:
    assert hosted.run().exit_code == 0
    hosted.server.jobs["ftjob-1"] |= {
        "status": "failed",
        "error": {"code": "bad", "message": "line 3 is too long", "param": None},
    }
    for more in (["--wait"], []):
        failed = hosted.run(*more)
        assert isinstance(failed.exception, JudgeError)
        assert "ended as failed: line 3 is too long" in str(failed.exception)


def test_a_folder_of_another_job_is_refused(hosted: Hosted) -> None:
    assert hosted.run().exit_code == 0
    other = hosted.run("--split-seed", 1)
    assert isinstance(other.exception, RunError)
    assert hosted.started == 1
