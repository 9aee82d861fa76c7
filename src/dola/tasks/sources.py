"""The upstream files: where each lies, at which commit, and what its bytes must be."""

from __future__ import annotations

from dola.tasks.fetch import Pinned


def _github(repository: str, commit: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


# The TruthfulQA files lie on the branch: their SHA-256 is what pins them.
TRUTHFULQA = {
    "paper": Pinned(
        name="truthfulqa/TruthfulQA.csv",
        title="TruthfulQA, the paper's version",
        url=_github("sylinrl/TruthfulQA", "main", "data/v1/TruthfulQA.csv"),
        size_note="817 questions, 0.5 MB",
        licence="Apache-2.0",
        sha256="f9bd9e859cc102cb1f647f1064da7e009be752c416845cf9fa56e6eaae403a7d",
    ),
    "2025": Pinned(
        name="truthfulqa/TruthfulQA-2025.csv",
        title="TruthfulQA, the revision of January 2025",
        url=_github("sylinrl/TruthfulQA", "main", "TruthfulQA.csv"),
        size_note="790 questions, 0.5 MB",
        licence="Apache-2.0",
        sha256="b8d8ef1e12f98b4f2a9f47abc9765da0640b182b6c5d9b92f0c1a1f2f1e02e5c",
    ),
}


def _judge(kind: str, sha256: str) -> Pinned:
    return Pinned(
        name=f"truthfulqa/finetune_{kind}.jsonl",
        title=f"the training data of TruthfulQA's {kind} judge",
        url=_github("sylinrl/TruthfulQA", "main", f"data/finetune_{kind}.jsonl"),
        size_note="22,434 answers, 4 MB",
        licence="Apache-2.0",
        sha256=sha256,
    )


JUDGE_TRAINING = {
    "truth": _judge("truth", "8e81d9f0dc592e26fb0d37106126e489d39ac75099828b1f2c8142f3ede60c6b"),
    "info": _judge("info", "b8e00e379f3aefcdb01b93886e67e0991ca90b5fdd389c0be4be2f5f00c07ec3"),
}

_FACTOR_COMMIT = "ee9de30abf28e94b163167dc41ad51fbbdb48c32"


def _factor(
    kind: str, size_note: str, licence: str, *, sha256: str | None = None, git_blob: str | None = None
) -> Pinned:
    return Pinned(
        name=f"factor/{kind}_factor.csv",
        title=f"FACTOR {kind}",
        url=_github("AI21Labs/factor", _FACTOR_COMMIT, f"data/{kind}_factor.csv"),
        size_note=size_note,
        licence=licence,
        sha256=sha256,
        git_blob=git_blob,
    )


FACTOR = {
    "wiki": _factor("wiki", "2,994 examples", "MIT", git_blob="793f9df0b0f02c9ba54d3f82d00d1f7355ad0c2e"),
    "news": _factor(
        "news",
        "1,036 examples, 3.3 MB",
        "see the repository",
        sha256="f4f3110a66bfca3a1decb88f14ce55b4e9656be80894bcd94216cc2c61be8260",
    ),
    "expert": _factor(
        "expert",
        "236 examples, 0.5 MB",
        "MIT",
        sha256="39cbceba9b43e713069a155e2028f6a2335b792983110b935a71ddb065766bde",
    ),
}

_GSM8K_COMMIT = "3101c7d5072418e28b9008a6636bde82a006892c"


def _gsm8k(part: str, size_note: str, sha256: str) -> Pinned:
    return Pinned(
        name=f"gsm8k/gsm8k_{part}.jsonl",
        title=f"GSM8K, the {part} file",
        url=_github("openai/grade-school-math", _GSM8K_COMMIT, f"grade_school_math/data/{part}.jsonl"),
        size_note=size_note,
        licence="MIT",
        sha256=sha256,
    )


GSM8K = {
    "test": _gsm8k(
        "test", "1,319 examples, 0.8 MB", "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"
    ),
    "train": _gsm8k(
        "train", "7,473 examples, 4 MB", "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465"
    ),
}

_STRATEGYQA_COMMIT = "1ba1e97452e189569357876f2854b01357ffbe37"


def _strategyqa(part: str, size_note: str, sha256: str) -> Pinned:
    return Pinned(
        name=f"strategyqa/{part}.json",
        title=f"StrategyQA, {part}.json",
        url=_github("eladsegal/strategyqa", _STRATEGYQA_COMMIT, f"data/strategyqa/{part}.json"),
        size_note=size_note,
        licence="MIT",
        sha256=sha256,
    )


# In this order they are the training file of 2,290 questions that the released script reads.
STRATEGYQA = (
    _strategyqa(
        "train", "2,061 questions", "0f72560b8a6fad3db847d2f1a7524fb087297843bb45a8d3245ffd68cbe0de12"
    ),
    _strategyqa("dev", "229 questions", "0d94842ffb022db8fd5ecd2168b785d5cf67f6faf64f665476bad544a3eb9dde"),
)


def _vicuna(name: str, title: str, commit: str, path: str, sha256: str) -> Pinned:
    return Pinned(
        name=f"vicuna/{name}",
        title=f"the Vicuna questions, {title}",
        url=_github("lm-sys/FastChat", commit, path),
        size_note="80 questions, under 0.1 MB",
        licence="Apache-2.0",
        sha256=sha256,
    )


VICUNA = {
    "text": _vicuna(
        "table_question.jsonl",
        "the paper's file",
        "69d085eadab8e9fcf831a97e17e132658c3d2272",
        "fastchat/eval/table/question.jsonl",
        "590c39157bc561eadd7f03cad4be18c2b597f93029780af65f86718f39eafa87",
    ),
    "turns": _vicuna(
        "question.jsonl",
        "FastChat's present file",
        "0e6d3e4beaab66f4d3f93db72541a4abab8af28d",
        "fastchat/llm_judge/data/vicuna_bench/question.jsonl",
        "c248c5c98ba45bb0c2aadae2f270e643bd32679c6c306a3b2a503ac4254cdaa5",
    ),
}


def _judge_file(name: str, title: str, commit: str, path: str, sha256: str) -> Pinned:
    return Pinned(
        name=f"vicuna/{name}",
        title=f"FastChat's {title}",
        url=_github("lm-sys/FastChat", commit, path),
        size_note="under 0.1 MB",
        licence="Apache-2.0",
        sha256=sha256,
    )


# What a judge of two answers is told.
JUDGE_FILES = {
    "table_prompt": _judge_file(
        "table_prompt.jsonl",
        "review prompts, of the paper's time",
        "69d085eadab8e9fcf831a97e17e132658c3d2272",
        "fastchat/eval/table/prompt.jsonl",
        "475f1ff9e2872fe0ffd43db38fd5c3277f46fe6b2d62fcd2f968a0c9e59391a3",
    ),
    "table_reviewer": _judge_file(
        "table_reviewer.jsonl",
        "reviewers, of the paper's time",
        "69d085eadab8e9fcf831a97e17e132658c3d2272",
        "fastchat/eval/table/reviewer.jsonl",
        "f9bbe8afca441761cbbe5ed3298101e63e8e2d42a2f1dea0ce2c5c991b8d5893",
    ),
    "judge_prompts": _judge_file(
        "judge_prompts.jsonl",
        "present judge prompts",
        "0e6d3e4beaab66f4d3f93db72541a4abab8af28d",
        "fastchat/llm_judge/data/judge_prompts.jsonl",
        "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6",
    ),
}

_DOLA_COMMIT = "805230e57e63ca561cb759994681b122ff6f81f0"


def _script(name: str, sha256: str) -> Pinned:
    return Pinned(
        name=f"prompts/{name}",
        title=f"the released script {name}, for its prompt",
        url=_github("voidism/DoLa", _DOLA_COMMIT, name),
        size_note="under 0.1 MB",
        licence="MIT",
        sha256=sha256,
    )


PROMPT_SCRIPTS = {
    "tfqa": _script("tfqa_mc_eval.py", "7e23be82b85e5110af636ff9cf195ec76eafb63b5d3c27affdb4706e55858e41"),
    "gsm8k": _script("gsm8k_eval.py", "d734005c10c5f11b8180959bb4b6bf866888f9949b89624376d49cb4c3f9e58b"),
    "strqa": _script("strqa_eval.py", "a57cb73cbed4bffe5a00b5b3ffd3cf003752e1a339e352aea4036690dee2d492"),
}

# Seen at this commit, which has the only version of the file that a public index holds; 805230e, where the
# scripts above are, could not be looked at. Should the two differ, `--prompts` takes a copy of the other.
CONVERSATION_SCRIPT = Pinned(
    name="prompts/conversation.py",
    title="the released script conversation.py, for its templates",
    url=_github("voidism/DoLa", "18e99ca77ca5b0a2712e4303718ac77f940658cf", "conversation.py"),
    size_note="7 KB",
    licence="MIT",
    sha256="482a0a82165063cbd2388f7f558dfb06cc6395d1b7741c257371b79b9bbdd637",
)
