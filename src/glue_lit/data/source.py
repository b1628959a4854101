"""`Source`: the interface of a data source, such as the Hub or a folder; `glue_lit.data.sources` lists them."""

from abc import ABC, abstractmethod

from glue_lit.data.rows import Split
from glue_lit.data.table import Table
from glue_lit.tasks.spec import TaskSpec


class Source(ABC):
    """A data source.

    Attributes:
        glue: How help and messages describe its locations of GLUE tasks; empty if it has none.
        custom: The same for tasks of the user's own.
    """

    glue = ""
    custom = ""

    @abstractmethod
    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether ``location``, the value of ``data.source``, belongs to this source, decided without opening it."""

    def open_split(self, task: TaskSpec, location: str, split: str) -> Split:
        """Find a split of a GLUE task, without reading its rows.

        Raises:
            DataError: It is not there.
        """
        raise NotImplementedError

    def open_tables(self, location: str) -> dict[str, Table]:
        """Find the tables of a user's own task: ``train``, and ``validation`` and ``test`` if they exist.

        Raises:
            DataError: They are not there.
        """
        raise NotImplementedError
