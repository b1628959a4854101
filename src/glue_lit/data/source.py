"""`Source`: the interface of a kind of place that rows come from; `glue_lit.data.sources` lists all kinds."""

from abc import ABC, abstractmethod

from glue_lit.data.rows import Split
from glue_lit.data.tables import Table
from glue_lit.tasks.spec import TaskSpec


class Source(ABC):
    """A kind of place that rows come from.

    Attributes:
        glue: Words for the values of ``data.source`` that hold GLUE tasks, for help and messages; empty if none do.
        custom: The same for tasks of the user's own.
    """

    glue = ""
    custom = ""

    @abstractmethod
    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether ``data.source`` names this kind of place, decided without opening it."""

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
