"""HTML for notebooks: a volume in three planes, a table of series with thumbnails.

In: volumes, or a catalog. Out: HTML with embedded pictures. Text is escaped. For a series that
cannot be shown, the HTML has the reason.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.errors import NotInstalled, WarehouseError
from warehouse.escape import html_text
from warehouse.inputs import require_limit, require_names
from warehouse.pixels import pictures
from warehouse.pixels.lookup import images_of_series
from warehouse.pixels.stack import Stack
from warehouse.pixels.values import Values
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.volume_like import VolumeLike

SERIES = 24
"""Number of series of a gallery for which none are given."""
THUMBNAIL_BYTES = 256 << 20
"""Largest uncompressed frame with a thumbnail; a larger one would take half a minute."""
THUMBNAIL_HEIGHT = 96
"""Height of a thumbnail in screen pixels."""


def volume_html(volume: VolumeLike) -> str:
    """Return a volume as HTML: its attributes, and three planes through the middle."""
    facts = f"<p><code>{html_text(repr(volume))}</code></p>"
    try:
        return facts + _img(pictures.png(pictures.three_planes(volume)), 320)
    except WarehouseError as error:
        return f"{facts}<p>{html_text(str(error))}</p>"


@dataclass(frozen=True, slots=True, repr=False)
class Gallery:
    """Series with thumbnails, displayed as a table in a notebook."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    """Attributes of each series."""
    pictures: tuple[bytes | str, ...]
    """PNG of the middle frame of each series, or the reason why there is none."""
    total: int
    """Number of series that would be shown without a limit."""

    @property
    def _facts(self) -> str:
        shown = len(self.rows)
        return f"{shown} series" if shown == self.total else f"{shown} of {self.total:,} series"

    def __repr__(self) -> str:
        """Return the first series, without pictures."""
        shown = [
            ", ".join("" if v is None else str(v) for v in row)[:200] for row in self.rows[:10]
        ]
        more = [f"… {len(self.rows) - 10} more"] if len(self.rows) > 10 else []
        return "\n ".join([f"<Gallery of {self._facts}", *shown, *more]) + ">"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html_text(name)}</th>" for name in ("", *self.columns))
        body = "".join(
            f"<tr><td>{_cell(picture)}</td>"
            + "".join(f"<td>{html_text('' if v is None else str(v))}</td>" for v in row)
            + "</tr>"
            for row, picture in zip(self.rows, self.pictures, strict=True)
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<p>{self._facts}</p>"


def open_gallery(
    catalog: Catalog, series_uids: Sequence[str] = (), *, limit: int | None = None
) -> Gallery:  # fmt: skip
    """Return series with the middle frame of each as a thumbnail.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uids
        Series to show; if none are given, the first ones of the archive.
    limit
        Largest number of series; one file is opened for each. By default all that are given, or
        else 24.

    Raises
    ------
    NotInstalled
        Pillow is not installed.
    """
    require_names(*series_uids)
    if limit is None:
        limit = len(series_uids) or SERIES
    require_limit(limit)
    asked = catalog.connection.execute(statement("series", "pixels"), [list(series_uids), limit])
    names = tuple(column[0] for column in asked.description[:-1])
    found = asked.fetchall()
    total = found[0][-1] if found else 0
    rows = tuple(row[:-1] for row in found)
    return Gallery(names, rows, tuple(_thumbnail(catalog, row[0]) for row in rows), total)


def _thumbnail(catalog: Catalog, series_uid: str) -> bytes | str:
    try:
        stack = Stack(series_uid, images_of_series(catalog, series_uid), Values())
        image = stack.images[stack.source_of(len(stack) // 2)[0]]
        if math.prod(image.frame_shape) * max(1, image.BitsAllocated or 0) // 8 > THUMBNAIL_BYTES:
            return f"frames of series {series_uid} are too large for a thumbnail"
        return pictures.png(pictures.slice_picture(stack))
    except NotInstalled:
        raise
    except WarehouseError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - the other series have nothing to do with it
        return f"series {series_uid} cannot be shown ({type(error).__name__})"


def _cell(picture: bytes | str) -> str:
    if isinstance(picture, str):
        return f'<span title="{html_text(picture)}">no picture</span>'
    return _img(picture, THUMBNAIL_HEIGHT)


def _img(png: bytes, height: int) -> str:
    data = base64.b64encode(png).decode()
    # Notebooks shrink an image to the width of its column, which would distort it.
    return f'<img style="height:{height}px;max-width:none" src="data:image/png;base64,{data}">'
