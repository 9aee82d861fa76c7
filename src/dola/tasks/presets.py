"""What each released script does unless told otherwise: `--preset released`, in one table.

What it sets of its strategy, the strategy itself says (`Strategy.released`).

Source: the scripts of voidism/DoLa at commit 805230e. Where a script accepts a flag and ignores it, the value
here is what it really uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sampling:
    """The settings of a script that samples, or would if asked to."""

    temperature: float = 0.9
    top_p: float = 0.95
    top_k: int = 0


@dataclass(frozen=True)
class Preset:
    """One script's defaults.

    Attributes:
        max_new_tokens: None for a script that scores and generates nothing.
        repetition_penalty_vanilla, repetition_penalty_contrast: without and with contrasted layers. They
            differ, which confounds the comparison of the two.
        do_sample: None for a script that scores.
        stop_words: searched for in the generated text.
        stop_words_removed: whether a stop word is cut off the end of the text. gsm8k leaves it there.
        seed: of the random numbers, or None where the script sets none.
        debug_before_shard: whether --debug takes its ten rows before the shard is taken, or after.
        shard_suffix: what --output-path is followed by for a shard, after its number; None: no shards.
    """

    output_path: str
    script: str = ""
    data_path: str | None = None
    max_new_tokens: int | None = None
    repetition_penalty_vanilla: float = 1.0
    repetition_penalty_contrast: float = 1.0
    do_sample: bool | None = None
    sampling: Sampling = Sampling()
    stop_words: tuple[str, ...] = ()
    stop_words_removed: bool = False
    seed: int | None = None
    debug_before_shard: bool = True
    shard_suffix: str | None = ".json"

    def output_of_shard(self, output_path: Path, shard_id: int | None) -> Path:
        """The file that a shard's results go to: the suffix is added even to a name that ends in .json."""
        if shard_id is None or self.shard_suffix is None:
            return output_path
        return output_path.with_name(f"{output_path.name}_{shard_id}{self.shard_suffix}")


PRESETS = {
    "tfqa-mc": Preset(
        script="tfqa_mc_eval.py",
        data_path="./tfqa",
        output_path="./tfqa_result",
        max_new_tokens=None,
        repetition_penalty_vanilla=1.0,
        repetition_penalty_contrast=1.0,
        do_sample=None,
        sampling=Sampling(),
        stop_words=(),
        stop_words_removed=False,
        seed=None,
        debug_before_shard=True,
        shard_suffix=".json",
    ),
    "factor": Preset(
        script="factor_eval.py",
        data_path="./gsm8k",  # sic, and the next line
        output_path="./gsm8k_result",
        max_new_tokens=None,
        repetition_penalty_vanilla=1.0,
        repetition_penalty_contrast=1.0,
        do_sample=None,
        sampling=Sampling(),
        stop_words=(),
        stop_words_removed=False,
        seed=None,
        debug_before_shard=False,
        shard_suffix=".json",
    ),
    "gsm8k": Preset(
        script="gsm8k_eval.py",
        data_path="./gsm8k",
        output_path="./gsm8k_result",
        max_new_tokens=256,
        repetition_penalty_vanilla=1.0,
        repetition_penalty_contrast=1.2,
        do_sample=False,
        sampling=Sampling(),
        stop_words=("Q:", "\\end{code}"),
        stop_words_removed=False,
        seed=None,
        debug_before_shard=False,
        shard_suffix=".json",
    ),
    "strqa": Preset(
        script="strqa_eval.py",
        data_path="./strqa",
        output_path="./strqa_result",
        max_new_tokens=256,
        repetition_penalty_vanilla=1.0,
        repetition_penalty_contrast=1.2,
        do_sample=False,
        sampling=Sampling(),
        stop_words=("Q:", "\n\n##"),
        stop_words_removed=True,
        seed=42,
        debug_before_shard=False,
        shard_suffix=".json",
    ),
    "tfqa": Preset(
        script="tfqa_eval.py",
        data_path="./tfqa",
        output_path="./tfqa_result",
        max_new_tokens=50,
        repetition_penalty_vanilla=1.0,
        repetition_penalty_contrast=1.2,
        do_sample=False,
        sampling=Sampling(),
        stop_words=("Q:",),
        stop_words_removed=True,
        seed=None,
        debug_before_shard=True,
        shard_suffix=".jsonl",
    ),
    "vicuna": Preset(
        script="gpt4_judge_eval.py",
        data_path=None,
        output_path="answer.jsonl",
        max_new_tokens=1024,
        repetition_penalty_vanilla=1.0,
        repetition_penalty_contrast=1.2,
        do_sample=True,
        sampling=Sampling(temperature=0.7),
        stop_words=("### Human:",),
        stop_words_removed=True,
        seed=None,
        debug_before_shard=False,
        shard_suffix=None,
    ),
}
