"""All of a run as one frozen value. Flags, Python keywords and recipe files are three ways to write it."""

from __future__ import annotations

import difflib
import json
import math
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypedDict

from dola.errors import DataError, RunError
from dola.models.placement import DTYPES, Placement
from dola.runs.plan import Selection
from dola.runs.settings import Number, OneOf, Place, Setting, Several, Truth, Whole, Word, setting
from dola.tasks.base import Extraction
from dola.tasks.benchmark import Asked, Benchmark
from dola.tasks.registry import find_benchmark
from dola.tasks.subset import Shard

DEFAULT_MODEL = "smollm2"
DEFAULT_STRATEGIES = ("-1",)
DEFAULT_SEED = 42
MOST_SHARDS = 8
_SEEDS = 2**32 - 1

_SHARE = Number(0.0, 1.0, above=True)
_POSITIVE = Number(0.0, above=True)


@dataclass(frozen=True)
class RunSpec:
    """What is run: a benchmark, on a model, with strategies, and every setting of it.

        dola.RunSpec("tfqa-mc", model="smollm2", strategies=["-1", "low", "high"], limit=100)

    None: as the benchmark's released script has it. A setting that the benchmark has no use for is refused.

    Raises:
        RunError: a setting that is not what it must be, or that the benchmark does not have.
    """

    task: str
    model: str = setting(
        DEFAULT_MODEL,
        Word(),
        "--model-name",
        about="An alias (`dola models`), a Hugging Face id, a folder, or a .gguf file.",
        shown=True,
    )
    strategies: tuple[str, ...] = setting(
        DEFAULT_STRATEGIES,
        Several(),
        "--early-exit-layers",
        "--strategy",
        about="`0,2,...,32` (candidates, then the mature layer), `low`, `high`, `auto`, `P,N` (static) or"
        " `-1` (vanilla), with settings as in `high:alpha=0.2`. Several times: all are run, where answers are"
        " scored in one pass, and compared with the first.  [default: -1]",
        metavar="LAYERS",
    )
    preset: Literal["released", "own"] = setting(
        "released",
        OneOf(("released", "own")),
        "--preset",
        about="What a strategy's settings are unless said: the released script's, or the strategy's own.",
        shown=True,
    )
    alpha: float | None = setting(
        None,
        Number(0.0, 1.0),
        "--relative_top",
        "--alpha",
        about="Rule out tokens less likely than this share of the likeliest.  [released: 0 in tfqa-mc, 0.1"
        " elsewhere]",
    )
    filter_value: float | None = setting(
        None,
        Number(),
        "--relative_top_value",
        about="Score of a token that is ruled out.  [released: -1000, in generation -inf; own: below all"
        " others]",
    )
    divergence: Literal["released", "js"] | None = setting(
        None, OneOf(("released", "js")), "--divergence", about="Picks the premature layer."
    )
    early_exit_norm: bool | None = setting(
        None,
        Truth("--no-early-exit-norm"),
        "--early-exit-norm",
        about="Norm early exits.  [released: no]",
    )
    post_softmax: bool | None = setting(
        None,
        Truth("--no-post-softmax"),
        "--post-softmax",
        about="Renormalise the contrast.  [released: yes in factor, else no]",
    )
    data_path: Path | None = setting(
        None, Place(), "--data-path", about="The data file, or its folder.  [default: fetched on first use]"
    )
    data_version: str | None = setting(
        None,
        Word(),
        "--data-version",
        about="tfqa-mc, tfqa: paper (817 questions, the default) or 2025 (790); factor: wiki, news or expert;"
        " gsm8k: test (the default), train or validation (1,000 of train); vicuna: text or turns.",
        metavar="VERSION",
    )
    debug: bool = setting(False, Truth(), "--debug", about="The first 10 rows only.")
    limit: int | None = setting(None, Whole(1), "--limit", about="The first LIMIT rows only.")
    shard_id: int | None = setting(None, Whole(0), "--shard-id", about="With --parallel: which one, from 0.")
    total_shard: int = setting(MOST_SHARDS, Whole(1), "--total-shard", about="With --parallel.", shown=True)
    max_new_tokens: int | None = setting(
        None,
        Whole(1),
        "--max-new-tokens",
        about="At most.  [default: as released: gsm8k and strqa 256, tfqa 50, vicuna 1024]",
    )
    do_sample: bool | None = setting(
        None,
        Truth("--no_do_sample"),
        "--do_sample",
        about="Draw tokens at random instead of taking the best.  [default: yes in vicuna, else no]",
    )
    temperature: float | None = setting(
        None, _POSITIVE, "--temperature", about="With --do_sample.  [default: 0.9, vicuna 0.7]"
    )
    top_p: float | None = setting(None, _SHARE, "--top_p", about="With --do_sample.  [default: 0.95]")
    top_k: int | None = setting(None, Whole(0), "--top_k", about="With --do_sample; 0: all.  [default: 0]")
    repetition_penalty: float | None = setting(
        None,
        _POSITIVE,
        "--repetition_penalty",
        about="Of all strategies alike.  [released: 1.0 for vanilla, 1.2 for contrasted layers; own: 1.0]",
    )
    retry: int = setting(
        1,
        Whole(1),
        "--retry",
        about="Generate at most so often, until there is an answer.",
        shown=True,
    )
    do_shuffle: bool = setting(
        False, Truth(), "--do_shuffle", about="Shuffle the worked examples, otherwise for each question."
    )
    extraction: Extraction = setting(
        "own",
        OneOf(("own", "released")),
        "--extraction",
        about="How the answer is read: rightly, or by the released script's rule. Both are reported.",
        shown=True,
    )
    truncate: bool = setting(
        False, Truth(), "--truncate", about="Cut texts too long for the model on the left."
    )
    variants: bool = setting(
        True,
        Truth("--no-variants"),
        "--variants",
        about="Score post_softmax and per-token means beside each strategy, from the same pass.",
        shown=True,
    )
    prompts: Path | None = setting(
        None, Place(), "--prompts", about="The few-shot prompt (or template): a file or its folder."
    )
    prefix_column: str | None = setting(
        None,
        Word(),
        "--prefix-column",
        about="The column that the completions follow.  [default: as released]",
    )
    own_seam: bool = setting(
        False,
        Truth(),
        "--own-seam",
        about="Join prefix and completion as FACTOR's own evaluation does.",
    )
    model_id: str | None = setting(
        None,
        Word(),
        "--model-id",
        about="The model's name in the answer file; a second strategy's is followed by that strategy."
        "  [default: from --model-name]",
        metavar="NAME",
    )
    template: Literal["own", "released"] = setting(
        "own",
        OneOf(("own", "released")),
        "--template",
        about="The model's own chat template, or the released script's for the model's name (--model-id).",
        shown=True,
    )
    seed: int = setting(
        DEFAULT_SEED,
        Whole(0, _SEEDS),
        "--seed",
        about="Of sampling, shuffling and the random control; of the bootstrap and the permutations too.",
        shown=True,
    )
    device: str = setting(
        "auto", Word(), "--device", about="Where to run.", metavar="auto|cpu|cuda|cuda:N|mps", shown=True
    )
    dtype: str | None = setting(
        None,
        OneOf(DTYPES),
        "--dtype",
        about="Of the weights.  [default: float32 on the CPU, else as saved where the device can]",
    )
    num_gpus: str = setting(
        "1",
        Word(),
        "--num-gpus",
        about="On CUDA: spread the model over N GPUs, or over all.",
        metavar="auto|N",
        shown=True,
    )
    max_gpu_memory: int = setting(
        27, Whole(1), "--max_gpu_memory", about="GiB for each of several GPUs.", shown=True
    )
    trust_remote_code: bool = setting(
        False,
        Truth(),
        "--trust-remote-code",
        about="Run Python code that comes with the model. Off unless asked.",
    )
    batch_tokens: int | None = setting(None, Whole(1), "--batch-tokens", about="Tokens to run at a time.")
    batch_size: int | None = setting(
        None, Whole(1), "--batch-size", about="Prompts at a time.  [default: by the device]"
    )
    benchmark: Benchmark = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "benchmark", find_benchmark(self.task))
        for each in spec_fields():
            object.__setattr__(self, each.name, _checked(each, getattr(self, each.name)))
        useless = [name for name in self.said() if name not in settings_for(self.benchmark)]
        if useless:
            how = "generates" if self.benchmark.generates else "scores"
            raise RunError(f"{self.task} {how} and has no setting {', '.join(useless)}: leave it out")

    def said(self) -> dict[str, Any]:
        """The settings that are not what they are unless said."""
        return {
            each.name: getattr(self, each.name)
            for each in spec_fields()
            if getattr(self, each.name) != each.default
        }

    @property
    def placement(self) -> Placement:
        return Placement(self.device, self.dtype, self.num_gpus, self.max_gpu_memory)

    @property
    def shard(self) -> Shard | None:
        return None if self.shard_id is None else Shard(self.shard_id, self.total_shard)

    @property
    def selection(self) -> Selection:
        """The rows, in the order in which the benchmark's released script cuts them."""
        return Selection(self.shard, self.debug, self.benchmark.preset.debug_before_shard, self.limit)

    @property
    def sampled(self) -> bool:
        """Whether tokens are drawn."""
        return bool(self.benchmark.preset.do_sample) if self.do_sample is None else self.do_sample

    @property
    def asked(self) -> Asked:
        """What of it is the benchmark's own."""
        return Asked(
            model=self.model,
            prompts=self.prompts,
            prefix_column=self.prefix_column,
            own_seam=self.own_seam,
            shuffle_seed=self.seed if self.do_shuffle else None,
            extraction=self.extraction,
            model_id=self.model_id,
            template=self.template,
        )

    def to_json(self) -> dict[str, Any]:
        """The task and what was said, as a result keeps it and a recipe file holds it."""
        return {"task": self.task, **{name: _plain(value) for name, value in self.said().items()}}

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> RunSpec:
        """The inverse of `to_json`.

        Raises:
            RunError: a setting that there is not, or one that is not what it must be.
        """
        check_names(found)
        if not isinstance(found.get("task"), str):
            raise RunError('no task: expected the name of a benchmark, as in task = "tfqa-mc"')
        return cls(**found)

    @classmethod
    def load(cls, path: str | Path) -> RunSpec:
        """A recipe file: TOML, `task = "tfqa-mc"` and a line for each setting.

        Raises:
            DataError: no such file, or no TOML.
            RunError: as `of`.
        """
        try:
            return cls.of(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"expected a recipe, as TOML ({error})", path=path) from None

    def recipe(self) -> str:
        """The recipe file, which `load` reads."""
        return "".join(
            f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in self.to_json().items()
        )

    def command(self, *more: str) -> str:
        """The command of this run; `more` is added to it."""
        words = ["dola", "eval", self.task]
        for each in spec_fields():
            if each.name in self.said():
                words += _flag_words(setting_of(each), getattr(self, each.name))
        if self.shard_id is not None:
            words.append("--parallel")
        return shlex.join([*words, *more])

    def call(self, **more: Any) -> str:
        """The Python call of this run; `more` are keywords beside it."""
        given = {**{name: _plain(value) for name, value in self.said().items()}, **more}
        keywords = "".join(f", {name}={value!r}" for name, value in given.items())
        return f"dola.evaluate({self.task!r}{keywords})"


class SpecSettings(TypedDict, total=False):
    """The settings of a `RunSpec` as keywords, but the task, the model and the strategies."""

    preset: Literal["released", "own"]
    alpha: float | None
    filter_value: float | None
    divergence: Literal["released", "js"] | None
    early_exit_norm: bool | None
    post_softmax: bool | None
    data_path: str | Path | None
    data_version: str | None
    debug: bool
    limit: int | None
    shard_id: int | None
    total_shard: int
    max_new_tokens: int | None
    do_sample: bool | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    repetition_penalty: float | None
    retry: int
    do_shuffle: bool
    extraction: Extraction
    truncate: bool
    variants: bool
    prompts: str | Path | None
    prefix_column: str | None
    own_seam: bool
    model_id: str | None
    template: Literal["own", "released"]
    seed: int
    device: str
    dtype: str | None
    num_gpus: int | str
    max_gpu_memory: int
    trust_remote_code: bool
    batch_tokens: int | None
    batch_size: int | None


MODEL = ("model", "device", "dtype", "num_gpus", "max_gpu_memory", "trust_remote_code")
ROWS = ("data_path", "data_version", "debug", "limit")
SHARDS = ("shard_id", "total_shard")
CONTRAST = ("preset", "alpha", "filter_value", "divergence", "early_exit_norm", "post_softmax")
SCORING = ("truncate", "variants", "batch_tokens", "seed")
GENERATING = (
    *("max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "repetition_penalty"),
    *("batch_size", "seed"),
)


def settings_for(benchmark: Benchmark) -> tuple[str, ...]:
    """The names of the settings that a benchmark has, in the order of the help."""
    return (
        "strategies",
        *CONTRAST,
        *benchmark.takes,
        *ROWS,
        *(SHARDS if benchmark.shards else ()),
        *(GENERATING if benchmark.generates else SCORING),
        *MODEL,
    )


def spec_fields() -> tuple[Field[Any], ...]:
    """The fields of a spec that are settings."""
    return tuple(each for each in fields(RunSpec) if "setting" in each.metadata)


def setting_of(each: Field[Any]) -> Setting:
    found: Setting = each.metadata["setting"]
    return found


def check_names(given: Iterable[str]) -> None:
    """
    Raises:
        RunError: a setting that there is not, with the one that may have been meant.
    """
    known = ["task", *(each.name for each in spec_fields())]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f": did you mean {near[0]}?" if near else f": expected one of {', '.join(known)}"
            raise RunError(f"no setting {name}{meant}")


def _checked(each: Field[Any], value: Any) -> Any:
    """The value as the field has it: a path, a tuple."""
    check, made = setting_of(each).check, value
    if isinstance(check, Place) and isinstance(value, str):
        made = Path(value)
    elif isinstance(check, Several):
        made = (value,) if isinstance(value, str) else tuple(value)
    elif isinstance(check, Number) and isinstance(value, str):
        made = _infinite(value)
    elif each.name == "num_gpus":
        made = str(value)
    if not (made is None and each.default is None) and not check.fits(made):
        raise RunError(f"{each.name}: expected {check.expected}, found {value!r}")
    return made


def _infinite(text: str) -> Any:
    """`-inf` as a number: JSON has none."""
    try:
        return float(text)
    except ValueError:
        return text


def _plain(value: Any) -> Any:
    """As JSON, TOML and Python write it alike."""
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _flag_words(how: Setting, value: Any) -> list[str]:
    flag = how.flags[0]
    if isinstance(how.check, Truth):
        return [flag if value else how.check.off]
    return [word for each in (value if isinstance(value, tuple) else (value,)) for word in (flag, str(each))]
