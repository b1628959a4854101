"""Stop at SIGTERM as at Ctrl-C, so that what a command has begun is cleaned up."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from glue_lit.errors import Stopped


@contextmanager
def stopping_at_sigterm() -> Iterator[None]:
    """Raise `Stopped` in the block at SIGTERM, which would end the process on the spot. Only for the main thread."""

    def stop(number: int, _: Any) -> NoReturn:
        raise Stopped(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
