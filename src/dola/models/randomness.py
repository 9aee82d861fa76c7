"""The process-wide generators of random numbers, borrowed and given back as they were."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch

# Who borrows while another has them would give back the other's numbers.
_BORROWED = threading.RLock()


@contextmanager
def generators_seeded(seed: int) -> Iterator[None]:
    """Python's, NumPy's and PyTorch's generators begin at `seed`, and afterwards go on where they were.

    For what draws from them and takes no generator. One thread at a time; what another thread draws
    meanwhile, it draws from the seeded ones.
    """
    # A device that nothing has touched has no state to keep, and asking for it would start the device.
    started = cast("Any", torch.cuda).is_initialized()
    cuda = list(range(torch.cuda.device_count())) if started else []
    mps = torch.backends.mps.is_available()
    with _BORROWED, torch.random.fork_rng(devices=cuda):
        python, numpy = random.getstate(), np.random.get_state()
        on_mps = torch.mps.get_rng_state() if mps else None
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.default_generator.manual_seed(seed)
            if cuda:
                torch.cuda.manual_seed_all(seed)
            if mps:
                torch.mps.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            if on_mps is not None:
                torch.mps.set_rng_state(on_mps)
