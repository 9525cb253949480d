"""Names for NumPy arrays by dtype, used in every annotation of ``personalization`` and ``bot``.

An alias names the dtype only; the shape is in the docstring of the function or class. Imports NumPy alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HalfArray = npt.NDArray[np.float16]
"""float16: weights as they are stored."""
FloatArray = npt.NDArray[np.float32]
"""float32: features, labels, scores."""
DoubleArray = npt.NDArray[np.float64]
"""float64: statistics, and sums whose rounding matters."""
IntArray = npt.NDArray[np.int64]
"""int64: row numbers and counts."""
BoolArray = npt.NDArray[np.bool_]
"""bool: masks."""
