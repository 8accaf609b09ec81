"""Which shape a caller accepts: the `Accept` header against what there is (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType
from typing import Final, Protocol, cast

from service.shapes import arrow, csv, greenbutton, json, parquet
from service.shapes.reply import Reply
from store.errors import InputError

_MOST = 512  # characters of the header
_MOST_RANGES = 16


class Shape(Protocol):
    """What every module of `shapes` that answers offers."""

    MEDIA_TYPE: str

    def encode(self, reply: Reply) -> bytes:
        """Return ``reply`` as bytes of this media type."""


def _shapes(*modules: ModuleType) -> dict[str, Shape]:
    return {module.MEDIA_TYPE: cast("Shape", module) for module in modules}


SHAPES: Final = _shapes(json, csv, arrow, parquet, greenbutton)


def chosen(accept: str | None, offered: Collection[str] = SHAPES) -> str:
    """Return which of the media types ``offered`` to answer in; JSON where anything will do.

    Raises:
        InputError: None of ours is acceptable (``not_acceptable``).
    """
    if accept is None or accept in ("*/*", json.MEDIA_TYPE):
        return json.MEDIA_TYPE
    ranges = accept.lower().split(",") if len(accept) <= _MOST else []
    if len(ranges) <= _MOST_RANGES:
        weights = [_weight(text) for text in ranges]
        offers = [(_best(media, weights), media) for media in offered]
        weight, media = max(offers, key=lambda offer: offer[0])
        if weight > 0:
            return media
    listed = ", ".join(offered)
    raise InputError(f"no shape that you accept; there are: {listed}", code="not_acceptable")


def _weight(text: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip() for piece in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return kind, 0.0
            return kind, weight if 0 <= weight <= 1 else 0.0
    return kind, 1.0


def _best(media: str, weights: list[tuple[str, float]]) -> float:
    """Return the weight of the most specific range that names ``media``; 0 where none does."""
    whole = media.split("/", maxsplit=1)[0] + "/*"
    for wanted in (media, whole, "*/*"):
        found = [weight for kind, weight in weights if kind == wanted]
        if found:
            return max(found)
    return 0.0
