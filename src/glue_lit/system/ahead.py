"""Compute the next item of an iterator in a thread while the current one is used."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")


def ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """Yield the items, and compute the next one in a thread meanwhile, so that two exist at a time.

    An error of the thread is raised where its item would have come. Nobody waits for the thread if the rest is not
    wanted: it may be waiting for standard input.
    """
    iterator = iter(items)

    def compute(coming: Future[list[_Item]]) -> None:
        try:
            coming.set_result(list(islice(iterator, 1)))
        except BaseException as error:
            coming.set_exception(error)

    def begin() -> Future[list[_Item]]:
        coming: Future[list[_Item]] = Future()
        threading.Thread(target=compute, args=(coming,), name="ahead", daemon=True).start()
        return coming

    coming = begin()
    while item := coming.result():
        coming = begin()
        yield item[0]
