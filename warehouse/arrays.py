"""What ``Warehouse`` reads of known files: headers, long values, volumes, stacks, duplicates.

Each function is a method of ``Warehouse``, which names it. It imports what it needs: a process that
only asks SQL starts without pydicom.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from warehouse.settings import S3Access
from warehouse.store.damage import names_failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from warehouse.catalog.duplicates import Compared
    from warehouse.catalog.header import Header
    from warehouse.cohorts.runs import Run
    from warehouse.pixels.gallery import Gallery
    from warehouse.pixels.gradients import Gradients
    from warehouse.pixels.prefetch import Loaded
    from warehouse.pixels.stack import Stack
    from warehouse.pixels.volume import LazyVolume
    from warehouse.publishing import Opened


@names_failures
def blob(wh: Opened, sha256: str) -> IO[bytes]:
    """Open a binary value of that digest, wherever it lies; its bytes are not in memory."""
    from warehouse.catalog.long_values import open_value

    return open_value(wh.catalog, sha256, s3=S3Access.from_variables(os.environ))


@names_failures
def header(wh: Opened, uid: str | os.PathLike[str]) -> Header:
    """Return the header of a stored instance, by SOPInstanceUID or path of its file."""
    from warehouse.catalog.header_rows import header_of_instance

    return header_of_instance(wh.catalog, os.fspath(uid))


@names_failures
def volume(
    wh: Opened, series_uid: str, *, rescale: bool | str = False,
    window: tuple[float, float] | str | None = None, invert: bool = False,
    color: bool = False, overlay: int | None = None, stack_id: str | None = None,
) -> LazyVolume:  # fmt: skip
    """Return a series as a lazy array (slice, row, column); voxels are read when sliced.

    ``affine`` maps an index to mm in LPS; see ``warehouse.pixels.volume.LazyVolume``, and
    ``warehouse.pixels.values.Values`` for what the options do to values and dtype.
    """
    from warehouse.pixels.values import Values
    from warehouse.pixels.volume import open_volume

    values = Values(rescale, window, invert, color, overlay)
    return open_volume(wh.catalog, series_uid, values=values, stack_id=stack_id)


@names_failures
def gradients(wh: Opened, series_uid: str, *, isotropic: bool = False) -> Gradients:
    """Return b-values and directions that fit the NIfTI of ``volume``; see ``Gradients``."""
    from warehouse.pixels.gradients import gradients
    from warehouse.pixels.volume import open_volume

    return gradients(wh.catalog, open_volume(wh.catalog, series_uid), isotropic=isotropic)


@names_failures
def gallery(wh: Opened, *series_uids: str, limit: int = 24) -> Gallery:
    """Return series with a thumbnail each, which a notebook shows as a table."""
    from warehouse.pixels.gallery import open_gallery

    return open_gallery(wh.catalog, series_uids, limit=limit)


@names_failures
def iter_volumes(
    wh: Opened, cohort: Run | str | Iterable[str], *, ahead: int = 1, rescale: bool | str = False
) -> Iterator[Loaded]:  # fmt: skip
    """Yield the series of a cohort with their voxels, the next ones read meanwhile.

    ``cohort`` is a run, its name, or UIDs; see ``warehouse.pixels.prefetch.iter_volumes``.
    """
    from warehouse.cohorts.runs import Run, members, series_keys
    from warehouse.pixels.prefetch import iter_volumes
    from warehouse.pixels.values import Values

    if isinstance(cohort, str | Run):
        cohort = series_keys(members(wh.root, cohort))
    return iter_volumes(wh.catalog, cohort, ahead=ahead, values=Values(rescale=rescale))


@names_failures
def stack(
    wh: Opened, series_uid: str, *, rescale: bool | str = False, overlay: int | None = None
) -> Stack:  # fmt: skip
    """Return the frames of any series, lazily, as stored; see ``warehouse.pixels.stack``."""
    from warehouse.pixels.stack import open_stack
    from warehouse.pixels.values import Values

    return open_stack(wh.catalog, series_uid, values=Values(rescale, overlay=overlay))


def duplicates(wh: Opened, *, limit: int | None = None) -> Iterator[Compared]:
    """Read each duplicate and its holder: a ``verdict`` but ``same`` is no true copy."""
    from warehouse.catalog.duplicates import compare_duplicates

    access = S3Access.from_variables(os.environ)
    return compare_duplicates(wh.catalog, limit=limit, s3=access)
