"""Between Arrow's columns and ours: texts, dictionaries, joined ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.columns import Coded, Columns, Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BLANKS = " \t"  # what may stand around a field


def alone() -> None:
    """Keep Arrow to one thread in this process, for good."""
    pa.set_cpu_count(1)


def strings(data: bytes, offsets: NDArray[np.int64]) -> pa.StringArray:
    """Return texts of ``data`` between ``offsets``; nothing checks that they are UTF-8."""
    return pa.StringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)
    )


def unchecked(texts: pa.BinaryArray) -> pa.StringArray:
    """Return binary ``texts`` as strings; nothing checks that they are UTF-8."""
    return pa.StringArray.from_buffers(len(texts), *texts.buffers()[1:], offset=texts.offset)


def trimmed(texts: pa.StringArray) -> pa.StringArray:
    """Return ``texts`` without the blanks around them."""
    return pc.ascii_trim(texts, characters=BLANKS)


def texts_of(strings: pa.StringArray) -> Texts:
    """Return an Arrow string array (int32 offsets, no nulls) as `Texts`."""
    _, offsets, data = strings.buffers()
    n, skip = len(strings), strings.offset
    at = np.zeros(1, np.int32) if not n else np.frombuffer(offsets, np.int32)[skip : skip + n + 1]
    raw = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return Texts(raw, at.astype(np.int64))


def coded(texts: pa.StringArray) -> Coded:
    """Return a text column (no nulls) by its distinct texts, blanks around them removed."""
    if _are_one(texts):  # lines of one meter point: none of them need be looked up
        return Coded(texts_of(trimmed(texts[:1])), np.zeros(len(texts), np.int32))
    column = texts.dictionary_encode()
    index = np.asarray(column.indices).astype(np.int32, copy=False)
    return Coded(texts_of(trimmed(column.dictionary)), index)


def _are_one(texts: pa.StringArray) -> bool:
    """Whether ``texts`` are the same text, at least once."""
    if not len(texts):
        return False
    _, offsets, data = texts.buffers()
    at = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    width, size = int(at[1] - at[0]), int(at[-1] - at[0])
    if size != width * len(texts) or not (at[1:] - at[:-1] == width).all():
        return False
    if not width:
        return True
    # Each text is the one before it: so are all bytes, moved by one text.
    whole = np.frombuffer(data, np.uint8, size, int(at[0]))
    return bool((whole[width:] == whole[:-width]).all())


def joined(parts: Sequence[Columns]) -> Columns:
    """Return consecutive ranges as one."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(part.lines for part in parts[:-1])])
    line = [
        (np.arange(len(part), dtype=np.int32) if part.line is None else part.line) + start
        for part, start in zip(parts, starts.astype(np.int32), strict=True)
    ]
    fault = None
    if any(part.fault is not None for part in parts):
        fault = np.concatenate(
            [np.zeros(len(p), np.uint8) if p.fault is None else p.fault for p in parts]
        )
    return Columns(
        lines=sum(part.lines for part in parts),
        seconds=np.concatenate([part.seconds for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        meter=_joined_codes([part.meter for part in parts]),
        line=np.concatenate(line),
        fault=fault,
        unit=_joined_codes([part.unit for part in parts]),
        register=_joined_codes([part.register for part in parts]),
        other=_joined_arrays([part.other for part in parts]),
    )


def _joined_codes(parts: Sequence[Coded | None]) -> Coded | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    starts = np.cumsum([0, *(len(part.texts) for part in known[:-1])]).astype(np.int32)
    index = [part.index + start for part, start in zip(known, starts, strict=True)]
    texts = [text for part in known for text in part.texts.tolist()]
    return Coded(Texts.of(texts), np.concatenate(index))


def _joined_arrays(parts: Sequence[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known else None
