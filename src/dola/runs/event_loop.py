"""Asynchronous work from synchronous code, in a notebook too, whose event loop is running already."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def finished(work: Coroutine[Any, Any, T]) -> T:
    """What it comes to, in an event loop of its own: where one is running here, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(contextvars.copy_context().run, loop.run_until_complete, task)
        try:
            return done.result()
        except BaseException:
            loop.call_soon_threadsafe(task.cancel)
            raise
