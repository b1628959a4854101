"""Compute the next item of an iterator in a thread while the current one is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_Item = TypeVar("_Item")


@contextmanager
def ahead(items: Iterable[_Item]) -> Iterator[Iterator[_Item]]:
    """Iterate over items of which one more is computed in a thread, so that at most three exist at a time.

    An error of the thread is raised where its item would have come. The thread has ended when the context ends.
    """
    ready: queue.Queue[tuple[bool, _Item | BaseException | None]] = queue.Queue(1)
    stopped = threading.Event()

    def put(has_item: bool, value: _Item | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put((has_item, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(True, item)
                if stopped.is_set():
                    return
        except BaseException as error:
            put(False, error)
        else:
            put(False, None)

    def taken() -> Iterator[_Item]:
        while True:
            has_item, value = ready.get()
            if has_item:
                yield value  # type: ignore[misc]
            elif value is None:
                return
            else:
                raise value  # type: ignore[misc]

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stopped.set()
        thread.join()
