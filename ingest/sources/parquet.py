"""A Parquet file with one read per row: checked, hashed, and decoded in batches, never whole.

A batch goes to the worker as an Arrow stream, and is read there by `ingest.sources.rows`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.sources.files import BLOCK, changed, opened
from ingest.sources.layout import MAX_COLUMNS, Role
from ingest.sources.rows import TIMES, RowParser
from store.errors import InputError

_LINE = 40  # bytes that one row is reckoned as


@dataclass(slots=True)
class Rows:
    """One Parquet file.

    Attributes:
        path: Where it is.
        salt: Put before the bytes that are hashed.
        size: Bytes.
        names: Its columns.
    """

    path: Path
    salt: bytes
    size: int
    names: list[str]
    _stat: tuple[int, ...] = field(repr=False)
    _digest: bytes | None = None
    chosen: Mapping[Role, int] = field(default_factory=dict)

    @classmethod
    def look(cls, path: Path, salt: bytes = b"") -> Rows:
        """Return the file after a look at its schema.

        Raises:
            InputError: As `opened`; ``not_parquet``, ``too_many_columns``.
        """
        with opened(path) as stream:
            identity = _identity(stream.fileno())
            size = os.fstat(stream.fileno()).st_size
        with _file(path) as file:
            names = file.schema_arrow.names
        if len(names) > MAX_COLUMNS:
            raise InputError(
                f"more than {MAX_COLUMNS} columns: not a file of reads", code="too_many_columns"
            )
        return cls(path, salt, size, names, identity)

    def digest(self) -> bytes:
        """Return the SHA-256 of the salt and the file."""
        if self._digest is None:
            hasher = hashlib.sha256(self.salt)
            with opened(self.path) as stream:
                while block := stream.read(BLOCK):
                    hasher.update(block)
                self._unchanged(stream.fileno())
            self._digest = hasher.digest()
        return self._digest

    def choose(self, roles: Mapping[Role, int]) -> RowParser:
        """Fix the columns that are read. Raises InputError ``wrong_column_type``."""
        with _file(self.path) as file:
            for role, at in roles.items():
                _check(role, file.schema_arrow.field(at).type)
        self.chosen = dict(sorted(roles.items(), key=lambda item: item[1]))
        return RowParser(tuple(self.chosen))

    def ranges(self, size: int) -> Iterator[bytes]:
        """Yield the rows in batches of about ``size`` bytes, each an Arrow stream.

        Raises:
            InputError: ``damaged_file``; ``file_changed`` at the end.
        """
        columns = [self.names[at] for at in self.chosen.values()]
        with _file(self.path) as file:
            try:
                for batch in file.iter_batches(max(1, size // _LINE), columns=columns):
                    sink = pa.BufferOutputStream()
                    with pa.ipc.new_stream(sink, batch.schema) as writer:
                        writer.write_batch(batch)
                    yield sink.getvalue().to_pybytes()
            except (pa.ArrowException, OSError):
                raise InputError(
                    "the file is damaged or cut short: nothing of it was taken; fetch it again",
                    code="damaged_file",
                ) from None
        with opened(self.path) as stream:
            self._unchanged(stream.fileno())

    def _unchanged(self, descriptor: int) -> None:
        if _identity(descriptor) != self._stat:
            raise changed()


def _identity(descriptor: int) -> tuple[int, ...]:
    """What the system changes whenever somebody writes to a file or puts another in its place."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _file(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=BLOCK, pre_buffer=False)
    except (pa.ArrowException, OSError):
        raise InputError(
            "not a Parquet file, or cut short: is --profile the right one? else fetch it again",
            code="not_parquet",
        ) from None


def _check(role: Role, kind: pa.DataType) -> None:
    base = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = pa.types.is_string(base) or pa.types.is_large_string(base)
    number = pa.types.is_integer(base) or pa.types.is_floating(base) or pa.types.is_decimal(base)
    fits = {Role.METER: pa.types.is_integer(base), Role.VALUE: number}
    fits |= dict.fromkeys(TIMES, pa.types.is_timestamp(base))
    if not (text or fits.get(role, False)):
        raise InputError(
            f"the column for the {role} is of a type that cannot be one", code="wrong_column_type"
        )
