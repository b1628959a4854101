"""Iterative stratification of rows with several labels."""

import numpy as np
import pytest

from glue_lit.data.stratification import hold_out_rows

Array = np.ndarray


def sparse(matrix: Array) -> tuple[Array, Array]:
    rows, labels = np.nonzero(matrix)
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))]), labels.astype(np.int32)


def of_matrix(matrix: Array, fraction: float = 0.1, seed: int = 42) -> Array:
    return hold_out_rows(*sparse(matrix), matrix.shape[1], fraction, seed)


def correlated(rows: int, labels: int) -> Array:
    """Rows whose labels are from frequent to rare, and occur together."""
    rng = np.random.default_rng(1)
    rates = np.geomspace(0.4, 0.02, labels)
    return (rng.random((rows, labels)) < rates * rng.gamma(1.0, 1.0, (rows, 1))).astype(int)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_labels_keep_their_shares(fraction: float) -> None:
    matrix = correlated(1000, 20)
    held_out = of_matrix(matrix, fraction)
    assert held_out.sum() == pytest.approx(1000 * fraction, abs=2)
    differences = matrix[held_out].sum(axis=0) - fraction * matrix.sum(axis=0)
    at_random = [
        np.abs(matrix[rng.permutation(1000) < 1000 * fraction].sum(axis=0) - fraction * matrix.sum(axis=0)).mean()
        for rng in map(np.random.default_rng, range(20))
    ]
    assert (np.abs(differences) <= 1 + 0.02 * matrix.sum(axis=0)).all()
    assert np.abs(differences).mean() < min(at_random) / 2


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    matrix = correlated(300, 8)
    first = of_matrix(matrix)
    assert (of_matrix(matrix) == first).all()
    assert (of_matrix(matrix, seed=7) != first).any()


def test_rows_without_labels_fill_the_parts_up() -> None:
    matrix = np.zeros((100, 3), dtype=int)
    matrix[:50, 0] = 1
    held_out = of_matrix(matrix, 0.2)
    assert (held_out[:50].sum(), held_out[50:].sum()) == (10, 10)
    assert of_matrix(np.zeros((40, 3), dtype=int), 0.2).sum() == 8


@pytest.mark.parametrize(("rows", "fraction"), [(2, 0.01), (2, 0.99), (5, 0.1), (3, 0.9)])
def test_both_parts_have_rows(rows: int, fraction: float) -> None:
    held_out = of_matrix(np.ones((rows, 2), dtype=int), fraction)
    assert 0 < held_out.sum() < rows


def test_one_row_is_not_held_out() -> None:
    assert not of_matrix(np.ones((1, 2), dtype=int)).any()


def test_a_label_of_one_row_stays_for_training() -> None:
    matrix = correlated(200, 5)
    rare = np.zeros((200, 1), dtype=int)
    rare[17] = 1
    assert not of_matrix(np.hstack([matrix, rare]))[17]


def test_many_labels() -> None:
    rng = np.random.default_rng(0)
    indices = np.concatenate([rng.choice(10_000, 5, replace=False) for _ in range(4000)]).astype(np.int32)
    held_out = hold_out_rows(np.arange(0, 20_001, 5), indices, 10_000, 0.1, 42)
    assert held_out.sum() == 400
    of_label = np.bincount(indices, minlength=10_000)
    stays = np.bincount(indices[~np.repeat(held_out, 5)], minlength=10_000)
    assert (stays[of_label > 0] == 0).mean() < 0.01
