"""Numbers as text to floats, where not every text is one. The grammar is that of the typed path.

    [+-] (digits [. digits*] | . digits) [(e|E) [+-] digits]

Empty, `Null`, `NA`, `NaN` and `-` say that there is no value; a decimal comma is not a number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_NOTHING = pa.array(["", "null", "na", "n/a", "nan", "none", "-"])

TYPED_NOTHING = ["", "Null", "NULL", "null"]  # what the typed path takes for no value


def floats_of(
    texts: pa.StringArray,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return what ``texts`` (blanks removed) mean, as three arrays of their length.

    Returns:
        The numbers, 0 where there is none; whether each is a number; whether it says that there is
        no value.
    """
    good = pc.match_substring_regex(texts, pattern=_NUMBER)
    value = pc.cast(pc.if_else(good, texts, "0"), pa.float64())
    nothing = pc.is_in(pc.ascii_lower(texts), value_set=_NOTHING)
    return np.asarray(value), np.asarray(good), np.asarray(nothing)
