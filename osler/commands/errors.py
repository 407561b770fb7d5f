"""Errors of commands as people read them."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from osler.build.section import BuildError

NAME = "osler"


@contextmanager
def one_line_errors(pipes: bool = False) -> Iterator[None]:
    """A BuildError as one line and exit status 1.

    Args:
        pipes: end quietly where the reader of the output does (`| head`).
    """
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL) if pipes else None
    try:
        yield
    except BuildError as error:
        sys.exit(f"{NAME}: {error}")
    finally:
        if pipes:
            sys.stdout.flush()
            signal.signal(signal.SIGPIPE, before)  # who called this may write to pipes of its own
