"""How much goes into one pass: a size that is halved when memory runs out, and stays halved."""

from dataclasses import dataclass

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size


@dataclass
class Budget:
    """The size of a batch, in whatever its owner counts."""

    size: int

    def shrink(self, error: RuntimeError, used: int) -> None:
        """Allow half of what was `used` when `error` came, so that the same work is tried again in parts.

        Raises:
            RuntimeError: `error` itself, if memory is not what it is about, or if nothing is left to halve.
        """
        if used < 2 or not should_reduce_batch_size(error):
            raise error
        self.size = max(1, min(self.size, used) // 2)
        clear_device_cache(garbage_collection=True)
