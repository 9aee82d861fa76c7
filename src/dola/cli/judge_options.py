"""The options that say who judges truth and information, and the judges that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dola.cli.asking import EndpointOptions, judge_config, once
from dola.cli.loading import load_for, quiet_host, tell
from dola.cli.options import ModelOptions, PlacementOptions, option_group
from dola.judges.card import KINDS, Kind
from dola.judges.dialect import ROOM_TO_THINK
from dola.judges.settings import EndpointSettings, JudgeConfig

if TYPE_CHECKING:
    from dola.judges.chat_truth import References
    from dola.runs.answers import Answers
    from dola.runs.chat_judges import ChatJudge
    from dola.runs.judging import Judge
    from dola.runs.rating import Judges


@dataclass(frozen=True)
class JudgeOptions:
    """Who judges."""

    gpt3_config: Path | None = None
    truth_model: str | None = None
    info_model: str | None = None
    local_truth: str | None = None
    local_info: str | None = None
    judge: str = "completion"
    judge_model: str | None = None
    max_tokens: int | None = None
    data_path: Path | None = None
    data_version: str | None = None
    similarity: bool = False

    @property
    def named(self) -> bool:
        """Whether any judge is."""
        names = (self.gpt3_config, self.judge_model, self.truth_model, self.info_model)
        return any((*names, self.local_truth, self.local_info))


@dataclass(frozen=True)
class AgainOptions:
    """What of earlier verdicts is asked for again."""

    ask_malformed_again: bool = False
    overwrite: bool = False


judge_options = option_group(
    "who",
    JudgeOptions,
    click.option(
        "--gpt3-config",
        type=click.Path(path_type=Path),
        help='The released config: {"gpt_truth": MODEL, "gpt_info": MODEL, "api_key": KEY}, "base_url" too.',
    ),
    click.option(
        "--judge",
        type=click.Choice(["completion", "chat"]),
        default="completion",
        show_default=True,
        help="A fine-tuned completion model that is asked for one token, or a chat model that is shown the"
        " benchmark's reference answers.",
    ),
    click.option("--judge-model", metavar="MODEL", help="With --judge chat: the endpoint's chat model."),
    click.option(
        "--max-tokens",
        type=click.IntRange(min=1),
        help=f"With --judge chat: of a reply with its thought.  [default: {ROOM_TO_THINK} at an endpoint]",
    ),
    click.option(
        "--data-path",
        type=click.Path(path_type=Path),
        help="With --judge chat or --similarity: TruthfulQA.csv, or its folder.  [default: fetched]",
    ),
    click.option("--data-version", help="Of that file: paper or 2025.  [default: paper]"),
    click.option(
        "--similarity",
        is_flag=True,
        help="BLEU and ROUGE against the reference answers, as in lm-evaluation-harness; needs no judge.",
    ),
    click.option("--truth-model", metavar="MODEL", help="The endpoint's truth judge, where no config says."),
    click.option("--info-model", metavar="MODEL", help="And its judge of information."),
    click.option(
        "--local-truth",
        metavar="MODEL",
        help="A truth judge on this machine: a folder of `dola judge train`, or a model as in --model-name,"
        " such as allenai/truthfulqa-truth-judge-llama2-7B.",
    ),
    click.option(
        "--local-info", metavar="MODEL", help="And of information: allenai/truthfulqa-info-judge-llama2-7B."
    ),
)

again_options = option_group(
    "again",
    AgainOptions,
    click.option(
        "--ask-malformed-again",
        "--retry-failed",
        is_flag=True,
        help="Ask again where a verdict made no sense, or the request was refused.",
    ),
    click.option("--overwrite", is_flag=True, help="Forget all verdicts, and ask (and pay) for them again."),
)


def judges_of(
    who: JudgeOptions,
    config: JudgeConfig,
    endpoint: EndpointOptions,
    placing: PlacementOptions,
    *,
    references: Mapping[str, References] | None = None,
    keyless: bool = False,
) -> Judges:
    """The judges that the options name; a model on this machine goes before one at an endpoint, which a dry
    run may describe `keyless`.

    Raises:
        UsageError: one of them is not named.
        JudgeError: an endpoint without a key.
    """
    from dola.runs.rating import Judges

    local: dict[Kind, str | None] = {"truth": who.local_truth, "info": who.local_info}
    remote: dict[Kind, str | None] = {
        "truth": who.truth_model or config.gpt_truth,
        "info": who.info_model or config.gpt_info,
    }

    say = once(tell)

    def settings() -> EndpointSettings:
        return endpoint.settings(config, keyless=keyless)

    def judge(kind: Kind) -> Judge:
        # torch comes with the local judges: not before it is known that there is something to judge.
        from dola.runs.chat_rating import ChatTruthJudge
        from dola.runs.judging import EndpointJudge, LocalModelJudge

        named, remote_name = local[kind], remote[kind]
        if who.judge == "chat":
            chat = _chat(kind, named, remote_name or who.judge_model, settings, placing, say)
            return ChatTruthJudge(kind, chat, references or {}, who.max_tokens)
        if named:
            quiet_host()
            return LocalModelJudge(
                kind,
                named,
                placing.placement,
                trust_remote_code=placing.trust_remote_code,
                progress=tell,
            )
        if remote_name:
            return EndpointJudge(kind, remote_name, settings(), say)
        raise click.UsageError(
            f'no {kind} judge: expected "gpt_{kind}" in --gpt3-config, --{kind}-model for one at an endpoint,'
            f" or --local-{kind} for one on this machine"
        )

    return Judges(*(judge(kind) for kind in KINDS))


def read_references_for(answers: Answers, who: JudgeOptions) -> dict[str, References]:
    """The reference answers, where a chat judge is shown them or likeness to them is measured.

    Raises:
        DataError: malformed data, or a question that it lacks.
    """
    if who.judge != "chat" and not who.similarity:
        return {}
    from dola.runs.chat_rating import read_references

    return read_references(answers.questions, who.data_path, version=who.data_version)


def _chat(
    kind: Kind,
    local: str | None,
    remote: str | None,
    settings: Callable[[], EndpointSettings],
    placing: PlacementOptions,
    say: Callable[[str], None],
) -> ChatJudge:
    """
    Raises:
        UsageError: no chat model is named.
    """
    from dola.runs.chat_judges import EndpointChat, LocalChat

    if local:
        quiet_host()
        model = ModelOptions(
            placing.device,
            placing.dtype,
            placing.num_gpus,
            placing.max_gpu_memory,
            placing.trust_remote_code,
            local,
        )
        return LocalChat(
            local,
            placing.placement,
            lambda: load_for(model, ()),
            trust_remote_code=placing.trust_remote_code,
            progress=tell,
        )
    if remote is None:
        raise click.UsageError(
            f"no chat model to judge {kind}: expected --judge-model, or --{kind}-model, for one at an"
            f" endpoint, or --local-{kind} for one on this machine"
        )
    return EndpointChat(remote, settings(), say)


def judges_of_config(path: Path | None) -> Judges:
    """The judges of a released config file, or an error before there is anything for them to judge.

    Raises:
        DataError: a config that is none.
        UsageError: a judge that it does not name.
        JudgeError: no key.
        MissingExtraError: the client is not installed.
    """
    config = judge_config(path)
    placing = PlacementOptions("auto", None, "1", 27, trust_remote_code=False)
    judges = judges_of(JudgeOptions(path), config, EndpointOptions(), placing)
    judges.prepare()
    return judges
