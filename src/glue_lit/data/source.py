"""`Source`: the interface of a kind of place that rows come from; `glue_lit.data.sources` lists all kinds."""

from abc import ABC, abstractmethod

from glue_lit.data.rows import Split
from glue_lit.data.tables import Table
from glue_lit.tasks.spec import TaskSpec


class Source(ABC):
    """A kind of place that rows come from.

    Attributes:
        glue: What ``data.source`` is for rows of a GLUE task, as help and messages say it; empty if there are none.
        custom: The same for rows of a task of the user's own.
    """

    glue = ""
    custom = ""

    @abstractmethod
    def matches(self, location: str, is_custom: bool) -> bool:
        """Whether ``data.source`` names this kind of place; it is looked at, and not opened."""

    def open_split(self, task: TaskSpec, location: str, split: str) -> Split:
        """A split of a GLUE task, not read yet: its rows, its other columns, and a fingerprint of its content.

        Raises:
            DataError: It is not there.
        """
        raise NotImplementedError

    def open_tables(self, location: str) -> dict[str, Table]:
        """The tables of a task of the user's own: ``train``, and ``validation`` and ``test`` where there are any.

        Raises:
            DataError: They are not there.
        """
        raise NotImplementedError
