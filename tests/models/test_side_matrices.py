from __future__ import annotations

import numpy as np
import torch

from recsys.data.features import Attributes
from recsys.models.side_matrices import attribute_matrix, rated_matrix


def test_attributes_become_ones() -> None:
    table = Attributes(["a", "b", "c"], np.array([0, 2, 2, 3]), np.array([0, 2, 1], np.int32))
    assert attribute_matrix(table).to_dense().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_who_rated_what_counts_each_pair_once_and_each_row_as_one() -> None:
    row, other = torch.tensor([1, 0, 1, 1, 1, 1]), torch.tensor([2, 1, 0, 2, 1, 3])
    expected = [[0, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0]]
    assert rated_matrix(row, other, 3, 4).to_dense().tolist() == expected
