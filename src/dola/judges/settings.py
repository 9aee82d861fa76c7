"""How a judge at an endpoint is reached: the key, the address, and the patience that it is asked with.

The config file is the released one, with keys of our own that may be left out:

    {"gpt_info": "curie:ft-...", "gpt_truth": "curie:ft-...", "api_key": "sk-...", "base_url": "http://..."}
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from dola.errors import DataError, JudgeError

KEY_VARIABLE = "OPENAI_API_KEY"
ADDRESS_VARIABLE = "OPENAI_BASE_URL"

# What servers that ask for no key expect in its place: the header must not be empty.
_NO_KEY = "none"
_HIDDEN = "***"
# What a parameter of an address is called that holds a key.
_SECRET_NAME = re.compile(r"key|token|secret|sig|auth|pass|code|cred", re.IGNORECASE)
# A shorter one is hidden where it is a word by itself: it may be a syllable of a reply.
_LONG_KEY = 8
_SHORTEST_KEY = 4


@dataclass(frozen=True)
class EndpointSettings:
    """An OpenAI-compatible endpoint.

    Attributes:
        api_key: never in a repr, a message, a log or an output of ours.
        base_url: the address up to and with `/v1`, and what is to be asked with every request after `?`;
            None: OpenAI's own. Not in a repr, since there may be a key in it.
        max_retries: of one request after 429, 5xx, a timeout or a cut connection, with the client's backoff.
        timeout: seconds that one attempt may take, from its first byte to the reply's last.
        concurrency: requests that are under way at a time.

    Raises:
        JudgeError: a key that is none, an address that is none, or a password in it.
    """

    api_key: str = field(repr=False)
    base_url: str | None = field(default=None, repr=False)
    max_retries: int = 6
    timeout: float = 120.0
    concurrency: int = 8

    def __post_init__(self) -> None:
        # A header can hold no more, and the library's complaint would repeat the key.
        if not self.api_key or any(not "!" <= character <= "~" for character in self.api_key):
            raise JudgeError("the judge's key is empty, or has characters in it that no key has")
        if self.base_url is not None:
            _check_address(self.base_url)

    @property
    def base_address(self) -> str | None:
        """The address without what stands after `?`: there may be a key in that."""
        if self.base_url is None:
            return None
        scheme, host, path, _, _ = urlsplit(self.base_url)
        return urlunsplit((scheme, host, path, "", "")) if {"?", "#"} & set(self.base_url) else self.base_url

    @property
    def query(self) -> dict[str, str]:
        """What the address asks with every request."""
        return dict(parse_qsl(urlsplit(self.base_url or "").query, keep_blank_values=True))

    @property
    def address(self) -> str:
        """Where the endpoint is, for messages and records."""
        return self.base_address or "api.openai.com"

    def hide(self, text: str) -> str:
        """`text` without any key: servers like to repeat what they are sent."""
        for secret in self._secrets():
            if len(secret) >= _LONG_KEY:
                text = text.replace(secret, _HIDDEN)
            elif secret in text:
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _HIDDEN, text)
        return text

    def _secrets(self) -> Iterator[str]:
        named = (value for name, value in self.query.items() if _SECRET_NAME.search(name))
        found = [*named, *([] if self.api_key == _NO_KEY else [self.api_key])]
        yield from (secret for secret in found if len(secret) >= _SHORTEST_KEY)


@dataclass(frozen=True)
class JudgeConfig:
    """A config file. `api_key` is None where the file has none; `warning` is what is to be said about it."""

    gpt_truth: str | None = None
    gpt_info: str | None = None
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    warning: str | None = field(default=None, compare=False)


def read_config(path: Path) -> JudgeConfig:
    """The judges' models and key, as in the released `--gpt3-config`.

    Raises:
        DataError: not there, not a JSON object, or with something else than text in it. Nothing of the file's
            content is in the message: there is a key in it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError("no such file: expected the judges' config", path=path) from None
    except IsADirectoryError:
        found = None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from None
    except json.JSONDecodeError as error:
        message = f"is not JSON: {error.msg} (character {error.colno} of the line)"
        raise DataError(message, path=path, line=error.lineno) from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            'expected a JSON object as {"gpt_truth": MODEL, "gpt_info": MODEL, "api_key": KEY}', path=path
        )
    key = _text(found, "api_key", path)
    return JudgeConfig(
        gpt_truth=_text(found, "gpt_truth", path),
        gpt_info=_text(found, "gpt_info", path),
        base_url=_text(found, "base_url", path),
        api_key=key,
        warning=_exposure(path) if key else None,
    )


def _exposure(path: Path) -> str | None:
    """What is to be said of a file with a key in it that everybody on the machine may read."""
    if os.name != "posix" or not path.stat().st_mode & stat.S_IROTH:
        return None
    return f"{path} holds a key, and everybody on this machine can read it: chmod 600 {path}"


def endpoint_settings(
    config: JudgeConfig | None = None,
    *,
    base_url: str | None = None,
    max_retries: int = 6,
    timeout: float = 120.0,
    concurrency: int = 8,
    keyless: bool = False,
) -> EndpointSettings:
    """The endpoint of a config, of an address, or of the environment, in this order of precedence: the
    argument, the config, `OPENAI_BASE_URL` and `OPENAI_API_KEY`. `keyless`: nothing is to be asked, so a key
    may be missing.

    Raises:
        JudgeError: no key for OpenAI's own endpoint. An address of another needs none.
    """
    config = config or JudgeConfig()
    address = base_url or config.base_url or os.environ.get(ADDRESS_VARIABLE, "").strip() or None
    key = (
        config.api_key
        or os.environ.get(KEY_VARIABLE, "").strip()
        or (_NO_KEY if address or keyless else None)
    )
    if key is None:
        raise JudgeError(
            f"no key for the judge: put it into the environment variable {KEY_VARIABLE}, or into the config"
            ' file as "api_key"; or name another endpoint by --base-url'
        )
    return EndpointSettings(key, address, max_retries, timeout, concurrency)


def _check_address(address: str) -> None:
    if "@" in re.split(r"[/?#]", address.partition("://")[2], maxsplit=1)[0]:
        raise JudgeError(
            "the judge's address holds a user name or password, which logs would show: leave it out, and"
            f" put the key into {KEY_VARIABLE}"
        )
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, or of brackets
        fine = False
    if not fine:
        # Nothing that may be a key: neither what is before an @, nor what is after a ?.
        shown = address.partition("?")[0].rpartition("@")[2]
        raise JudgeError(
            f"the judge's address is {shown!r}: expected one as http://localhost:8000/v1 (--base-url,"
            f' "base_url" in the config, or {ADDRESS_VARIABLE})'
        )


def _text(found: dict[str, Any], key: str, path: Path) -> str | None:
    value = found.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"expected text, found {type(value).__name__}", path=path, column=key)
    return (value or "").strip() or None
