"""Array types of the bundle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
IndexArray = Int64Array | NDArray[np.int32]  # rows of users or items

Id = int | str  # of a user or an item, as files and the API have it
