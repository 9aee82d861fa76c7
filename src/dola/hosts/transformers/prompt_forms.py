"""What a prompt may be: a text, token ids, or a conversation; and a call's prompts, one or many of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, cast

from torch import Tensor

from dola.errors import DataError

Message = Mapping[str, Any]
"""One turn of a conversation: `role`, `content`, and what else the model's chat template reads."""

Form = str | Sequence[int] | Sequence[Message]
"""A prompt as it is given: a text, token ids (a list, or a tensor `[T]` or `[1, T]`), or messages."""

Given = str | tuple[int, ...]
"""A prompt as it is tokenised: a conversation is the text that its template writes."""

_EXPECTED = (
    "expected a text, token ids, chat messages (dictionaries with 'role' and 'content'), or a list of these"
)


def read_forms(prompts: Any, render: Callable[[Sequence[Message]], str]) -> list[Given]:
    """One prompt, or a list of them, as they are to be tokenised.

    Args:
        render: a conversation as text.

    Raises:
        DataError: what is no prompt: a dictionary, padded rows, an image, a message without role or content.
    """
    if isinstance(prompts, Mapping):
        keys = ", ".join(map(str, list(prompts)[:4]))
        raise DataError(
            f"prompts is a dictionary ({keys}): {_EXPECTED}; of what a tokenizer returns, the 'input_ids'"
            " without padding"
        )
    if isinstance(prompts, Tensor) and prompts.dim() > 1 and len(prompts) > 1:
        raise DataError(
            f"prompts is a tensor of {len(prompts)} rows, whose padding cannot be told from their tokens:"
            " give texts, or lists of token ids without padding"
        )
    single = isinstance(prompts, str | Tensor) or _are(prompts, Integral) or _are(prompts, Mapping)
    several: Any = [prompts] if single else prompts
    if isinstance(several, bytes) or not isinstance(several, Iterable):
        raise DataError(f"prompts is {prompts!r:.80}: {_EXPECTED}")
    return [_read(place, each, render) for place, each in enumerate(several, start=1)]


def _are(found: object, kind: type) -> bool:
    if not isinstance(found, list | tuple) or not found:
        return False
    return all(isinstance(each, kind) for each in cast("Sequence[object]", found))


def _read(place: int, found: Any, render: Callable[[Sequence[Message]], str]) -> Given:
    if isinstance(found, str):
        return found
    if isinstance(found, Tensor) and not found.is_floating_point():
        found = found.flatten().tolist() if found.dim() == 1 or len(found) == 1 else found
    if (isinstance(found, list | tuple) and not found) or _are(found, Integral):
        return tuple(int(token) for token in found)
    if _are(found, Mapping):
        return render([_message(place, number, each) for number, each in enumerate(found, start=1)])
    raise DataError(f"prompt {place} is {found!r:.80}: {_EXPECTED}")


def _message(place: int, number: int, message: Message) -> Message:
    """A message whose content is one text: templates of models without images write a list as code."""
    at = f"prompt {place}, message {number}"
    if "role" not in message or not {"content", "tool_calls"} & message.keys():
        found = ", ".join(map(str, message)) or "nothing"
        raise DataError(f"{at}: expected 'role' and 'content', found {found}")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return message
    if not _are(content, Mapping):
        raise DataError(f"{at}: the content must be text, found {content!r:.80}")
    other = sorted({str(part.get("type")) for part in content} - {"text"})
    if other:
        raise DataError(f"{at} holds {other[0]!r}: only text is decoded here, no images, sound or video")
    return {**message, "content": "".join(str(part.get("text", "")) for part in content)}
