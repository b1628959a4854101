"""The logits of documents, pooled from those of their windows."""

import numpy as np
import pytest
import torch

from glue_lit.evaluation.pooling import pool_windows

COUNTS = (3, 1, 7, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_as_numpy_pools_document_by_document(dtype: torch.dtype) -> None:
    documents = torch.tensor([4, 9, 10, 30]).repeat_interleave(torch.tensor(COUNTS))
    logits = torch.randn(len(documents), 5).to(dtype)
    parts = np.split(logits.double().numpy(), np.cumsum(COUNTS)[:-1])
    for how, pool in (("mean", np.mean), ("max", np.max)):
        found = pool_windows(logits, documents, how)  # type: ignore[arg-type]
        assert found.dtype == dtype
        expected = np.stack([pool(part, axis=0) for part in parts])
        np.testing.assert_allclose(found.double().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_a_window_whose_logits_are_no_numbers_makes_its_document_so(how: str) -> None:
    logits = torch.tensor([[1.0], [float("nan")], [2.0]])
    found = pool_windows(logits, torch.tensor([0, 0, 1]), how)  # type: ignore[arg-type]
    assert found.isnan().tolist() == [[True], [False]]


def test_no_window_is_no_document() -> None:
    assert pool_windows(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "mean").shape == (0, 3)
