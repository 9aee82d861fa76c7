"""What the user sees when something goes wrong: one line on standard error, and the exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click

from dola.errors import DolaError

INTERRUPTED = 130
PIPE_CLOSED = 141  # 128 + SIGPIPE, as for any program whose reader has left

# Failures of the disk and of rights: the user's to mend. Any other OSError is a fault of ours.
_USERS_OWN = {
    errno.ENOSPC: "no room left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.EFBIG: "the file would be too large",
}


class Refusal(click.ClickException):
    """Wrong usage or input: `dola: MESSAGE` and exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"dola: {' '.join(self.message.split())}", file=file, err=file is None)


@contextmanager
def explained() -> Iterator[None]:
    """Turn every expected failure inside into a refusal; a fault of ours passes with its traceback."""
    try:
        yield
        sys.stdout.flush()
    except (DolaError, MemoryError) as error:
        raise Refusal(
            str(error) or "out of memory: a smaller model, prompt or --batch-size needs less"
        ) from error
    except click.UsageError as error:
        raise Refusal(_usage(error)) from error
    except (KeyboardInterrupt, click.Abort):
        click.echo(err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _let_go_of_output()
        raise click.exceptions.Exit(PIPE_CLOSED) from None
    except OSError as error:
        if error.errno not in _USERS_OWN:
            raise
        _let_go_of_output()
        where = error.filename or "writing the output"
        raise Refusal(f"{where}: {_USERS_OWN[error.errno]}") from error
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":
            raise
        raise Refusal(
            "out of GPU memory: try --dtype bfloat16, a smaller --batch-size, or --num-gpus auto"
        ) from error


def _usage(error: click.UsageError) -> str:
    """click's message, and where to read on."""
    message = error.format_message().strip().removesuffix(".")
    command = error.ctx.command_path if error.ctx else "dola"
    return f"{message} ({command} --help lists what there is)"


def _let_go_of_output() -> None:
    """What is still buffered cannot be written: Python would try again at its exit, and complain."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
