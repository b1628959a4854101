"""Pool the logits of a document's windows into those of the document."""

import torch
from torch import Tensor

from glue_lit.data.window_settings import Pooling


def pool_windows(logits: Tensor, documents: Tensor, how: Pooling) -> Tensor:
    """The logits of documents, ``(documents, labels)``, in the type of the given ones.

    Computed in float64 and in the order of the windows, so that the result is the same whichever device computed which
    window.

    Args:
        logits: Of windows, ``(windows, labels)``, or ``(windows, 1)`` for regression.
        documents: The document of each window, those of a document side by side, ``(windows,)``.
        how: ``mean`` or, for each label, ``max``. One that is not a number makes the document's so, too.
    """
    _, place, counts = torch.unique_consecutive(documents, return_inverse=True, return_counts=True)
    pooled = torch.zeros(len(counts), logits.shape[1], dtype=torch.float64, device=logits.device)
    if how == "mean":
        pooled = pooled.index_add_(0, place, logits.double()) / counts[:, None]
    else:
        where = place[:, None].expand(-1, logits.shape[1])
        pooled = pooled.scatter_reduce_(0, where, logits.double(), "amax", include_self=False)
    return pooled.to(logits.dtype)
