"""Whose turn it is on a model: hooks, replaced heads and defaults are the model's, so batches go one by one.

A turn lasts a batch, never as long as an iterator: between two items the model is anybody's.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import nn

from dola.errors import ModelError

# By model, the threads that want it, in the order in which they came: the first has its turn. Not on the
# model itself, which is copied and pickled.
_QUEUES: WeakKeyDictionary[nn.Module, deque[int]] = WeakKeyDictionary()
# By thread, the queue that it stands in, until it takes its turn.
_WAITING: dict[int, deque[int]] = {}
_CHANGED = threading.Condition()


@contextmanager
def turn(model: nn.Module) -> Iterator[None]:
    """Wait until no other thread is in the middle of a batch of this model, and keep others out.

    Raises:
        ModelError: the wait would never end: this thread is in a batch of the model itself (a callback, a
            hook), or whoever is waits for this thread.
    """
    me = threading.get_ident()
    with _CHANGED:
        queue = _QUEUES.setdefault(model, deque())
        if _waits_for(queue, me):
            raise ModelError(
                f"{type(model).__name__} is in the middle of a batch that waits for this call (from on_text"
                " or a hook): call it when the batch is done"
            )
        queue.append(me)
        _WAITING[me] = queue
        try:
            _CHANGED.wait_for(lambda: queue[0] == me)
        except BaseException:  # interrupted: those behind must not wait for a thread that has left
            queue.remove(me)
            _CHANGED.notify_all()
            raise
        finally:
            del _WAITING[me]
    try:
        yield
    finally:
        with _CHANGED:
            queue.popleft()
            _CHANGED.notify_all()


def _waits_for(queue: deque[int], thread: int) -> bool:
    """Whether the thread whose turn it is in this queue waits, itself or through others, for this one."""
    while queue:
        holder = queue[0]
        if holder == thread:
            return True
        queue = _WAITING.get(holder, deque())
        if queue and queue[0] == holder:  # its turn has come, and it has not noticed yet
            return False
    return False
