"""The next item is computed in a thread while the current one is used."""

import threading
from collections.abc import Iterator

import pytest

from glue_lit.errors import DataError
from glue_lit.system.ahead import ahead


def test_one_item_is_computed_ahead_in_another_thread() -> None:
    begun = [threading.Event() for _ in range(6)]
    threads = set()

    def items() -> Iterator[int]:
        for number in range(5):
            threads.add(threading.current_thread())
            begun[number].set()
            yield number

    found = []
    for number in ahead(items()):
        assert number == 4 or begun[number + 1].wait(5)
        assert not begun[min(number + 2, 5)].is_set()
        found.append(number)
    assert found == [*range(5)]
    assert threading.main_thread() not in threads
    assert list(ahead([])) == []


def test_an_error_comes_where_its_item_would() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise DataError("rows.csv, line 3: bad")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(DataError, match=r"rows.csv, line 3: bad"):
        next(found)


def test_nobody_waits_for_an_item_that_is_not_wanted() -> None:
    arrives = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        arrives.wait(60)  # as for a line of standard input
        yield 2

    for item in ahead(items()):
        assert item == 1
        break
    arrives.set()
