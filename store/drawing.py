"""A sheet to draw on, PNG or SVG, without a screen: one look for every picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from store.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES: Final = (".png", ".svg")
INK: Final = "#333333"
CALM, WARM, ODD = "#33658a", "#e07a5f", "#c1121f"
FAINT: Final = "#777777"
_STYLE: Final[Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.edgecolor": "#999999",
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "svg.hashsalt": "meterkeep", "svg.fonttype": "none",
}  # fmt: skip


@contextmanager
def sheet(
    file: Path, title: str, rows: int, columns: int, size: tuple[float, float]
) -> Iterator[list[Axes]]:
    """Yield the axes of a picture, row by row; it is written to ``file`` at the end.

    Args:
        file: .png or .svg.
        title: Of the whole.
        rows: Of axes.
        columns: Of axes.
        size: Inches.

    Raises:
        InputError: It is neither .png nor .svg (``bad_format``), or cannot be written
            (``unwritable``).
    """
    if file.suffix not in SUFFIXES:
        raise InputError("a plot is a .png or an .svg file", code="bad_format")
    from matplotlib import rc_context  # noqa: PLC0415 - 0.4 s, for who asks for a picture
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        yield list(figure.subplots(rows, columns, squeeze=False).flat)
        figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left")
        try:
            figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError:
            raise InputError("the plot cannot be written there", code="unwritable") from None


def empty(axes: Axes) -> None:
    """Say that there is nothing to draw."""
    axes.text(0.5, 0.5, "nothing in this time", ha="center", va="center", color=FAINT,
              transform=axes.transAxes)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
