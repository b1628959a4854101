"""Lightning's summary of a model, with the parameters that it has and not those of how it is trained."""

from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelSummary, RichModelSummary

from glue_lit.encoder.trained_embedding import counted_once


class PlainModelSummary(ModelSummary):
    """Lightning's summary; the token embedding counts once, whether all its rows are trained or those in use."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Print it."""
        with counted_once(pl_module):
            super().on_fit_start(trainer, pl_module)


class PlainRichModelSummary(RichModelSummary):
    """The same as a table of rich's."""

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Print it."""
        with counted_once(pl_module):
            super().on_fit_start(trainer, pl_module)


def plain_summary(callback: Callback) -> Callback:
    """What takes a callback's place: one of the two above for Lightning's own, else the callback itself."""
    ours: dict[type, type[ModelSummary]] = {ModelSummary: PlainModelSummary, RichModelSummary: PlainRichModelSummary}
    kind = ours.get(type(callback))
    if kind is None or not isinstance(callback, ModelSummary):
        return callback
    return kind(callback._max_depth, **callback._summarize_kwargs)
