"""The `openai` client with what it lacks: bounds on a reply's size and a request's whole time, no redirects.

A judge's server is a stranger. Its reply is read here, decompressed piece by piece, and handed to the client
whole; one that has no end, or is no reply, is handed over as far as it came, with its fault beside it. So the
client does not ask again, and pay again, for what came.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import time
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from dola.errors import JudgeError, MissingExtraError, in_one_line
from dola.judges.settings import EndpointSettings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# A long reply has some hundred kilobytes.
MOST_BYTES = 8 * 2**20
OPENAI_ADDRESS = "https://api.openai.com/v1"

# Under this name a response carries what is wrong with its body.
_FAULT = "dola_fault"
_PIECE = 2**16
# The HTTP library's errors of a connection that was there.
_AFTER_CONNECTING = frozenset({"ReadTimeout", "ReadError", "RemoteProtocolError"})
# What the client must not read again: the body is decompressed, and whole.
_SPENT_HEADERS = ("content-encoding", "content-length", "transfer-encoding")
# The variables that say how the network is reached, which the client reads by itself.
_NETWORK_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


def check_installed() -> None:
    """See that the client is there.

    Raises:
        MissingExtraError: the package `openai` is not installed.
    """
    try:
        import openai  # noqa: F401
    except ImportError:
        raise MissingExtraError("A judge at an endpoint", "judge") from None


def bounded_client(settings: EndpointSettings) -> AsyncOpenAI:
    """The client for an endpoint.

    Raises:
        MissingExtraError: the package `openai` is not installed.
        JudgeError: a proxy or a certificate of the environment that the client refuses.
    """
    check_installed()
    from openai import AsyncOpenAI

    try:
        http_client = _bounded_class()(timeout=settings.timeout, follow_redirects=False)
    except Exception as error:  # noqa: BLE001 (whatever the environment's proxies and certificates cause)
        refused = error
    else:
        return AsyncOpenAI(
            api_key=settings.api_key,
            base_url=settings.base_address or OPENAI_ADDRESS,
            default_query=settings.query,
            default_headers={"Accept-Encoding": "identity"},
            max_retries=settings.max_retries,
            timeout=settings.timeout,
            http_client=http_client,
        )
    # Outside the handler: a proxy's password may be in the client's own error.
    raise JudgeError(_refused_network(type(refused).__name__))


def fault_of(response: Any) -> str | None:
    """What was wrong with the body of a response of the bounded client; None: nothing."""
    fault: str | None = response.extensions.get(_FAULT)
    return fault


def network_variables() -> list[str]:
    """Which variables of the environment say how the network is reached."""
    names = (each for name in _NETWORK_VARIABLES for each in (name, name.lower()))
    return [name for name in dict.fromkeys(names) if os.environ.get(name)]


def was_reached(error: BaseException) -> bool:
    """Whether the server took the request, and then gave no reply, or broke it off."""
    return any(type(each).__name__ in _AFTER_CONNECTING for each in _below(error))


def _below(error: BaseException) -> list[BaseException]:
    """An error and what caused it."""
    below, seen = [error], {id(error)}
    while (cause := below[-1].__cause__ or below[-1].__context__) is not None and id(cause) not in seen:
        below.append(cause)
        seen.add(id(cause))
    return below


def connection_advice(error: BaseException) -> str:
    """What to do about an endpoint that is not reached, by what lies below the client's own error."""
    told = " ".join(f"{type(each).__name__} {each}" for each in _below(error)).lower()
    set_here = network_variables()
    if "certificate" in told or "ssl" in told:
        named = [name for name in set_here if name.upper().startswith("SSL")] or ["SSL_CERT_FILE"]
        return f"its certificate is not trusted, or it speaks no TLS: see {' and '.join(named)}"
    proxies = [name for name in set_here if name.upper().endswith("PROXY")]
    if proxies:
        return f"check the address (--base-url), the network, and the proxy of {' and '.join(proxies)}"
    return "check the address (--base-url) and the network"


def _refused_network(what: str) -> str:
    named = " and ".join(network_variables()) or "the proxy and certificate variables"
    return (
        f"the client for the judge cannot start ({what}): expected proxies as http://HOST:PORT and"
        f" certificate files that are there; mend or unset {named}"
    )


def _bounded_class() -> Any:
    """The client's own HTTP client, its `send` bounded; of whichever HTTP library it is built on."""
    from openai import DefaultAsyncHttpxClient

    base = next(each for each in DefaultAsyncHttpxClient.__mro__ if each.__name__ == "AsyncClient")
    library = importlib.import_module(base.__module__.partition(".")[0])

    class Bounded(DefaultAsyncHttpxClient):
        async def send(self, request: Any, *, stream: bool = False, **how: Any) -> Any:  # noqa: ARG002
            seconds = _seconds(request)
            until = None if seconds is None else time.monotonic() + seconds
            try:
                async with asyncio.timeout(seconds):
                    response = await super().send(request, stream=True, **how)
            except TimeoutError:
                raise library.ReadTimeout("no reply in time", request=request) from None
            try:
                content, fault = await _read(response, until)
            finally:
                await response.aclose()
            headers = [
                (name, value) for name, value in response.headers.multi_items() if name not in _SPENT_HEADERS
            ]
            return library.Response(
                response.status_code,
                headers=headers,
                content=content,
                request=request,
                extensions={_FAULT: fault},
            )

    return Bounded


def _seconds(request: Any) -> float | None:
    """The time that the client gives this request."""
    found = request.extensions.get("timeout", {}).get("read")
    return None if found is None else float(found)


async def _read(response: Any, until: float | None) -> tuple[bytes, str | None]:
    """The body as far as it came, and what is wrong with it. A connection that breaks passes as it is: the
    client tries again."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate", ""):
        return b"", f"a body encoded as {encoding[:40]!r}, which was not asked for"
    content = bytearray()
    try:
        async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
            async for piece in _decoded(response.aiter_raw(), encoding):
                content += piece
                if len(content) > MOST_BYTES:
                    return bytes(content[:MOST_BYTES]), f"a body of more than {MOST_BYTES} bytes"
    except TimeoutError:
        return bytes(content), "a body that was not whole in the time of --timeout"
    except zlib.error as error:
        return bytes(content), f"a body that is not {encoding} ({in_one_line(error)})"
    return bytes(content), None


async def _decoded(raw: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """The pieces of a body, none of them large, however well they were packed."""
    if encoding in ("identity", ""):
        async for piece in raw:
            yield piece
        return
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    async for piece in raw:
        packed = piece
        while packed:
            yield unpacking.decompress(packed, _PIECE)
            packed = unpacking.unconsumed_tail
