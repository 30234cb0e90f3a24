"""Methods of ``Warehouse`` that access headers, blobs, volumes, stacks and duplicates.

Imports are inside the functions, so that a process that only runs SQL does not import pydicom.
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
    """Open a long binary value by its digest, from the table ``blobs`` or from a source file.

    Parameters
    ----------
    sha256
        Column ``sha256`` of ``elements``.

    Returns
    -------
    file
        Readable and seekable; the value is not loaded into memory.
    """
    from warehouse.catalog.long_values import open_value

    return open_value(wh.catalog, sha256, s3=S3Access.from_variables(os.environ))


@names_failures
def header(wh: Opened, uid: str | os.PathLike[str]) -> Header:
    """Return the header of a stored instance without opening its source file.

    Parameters
    ----------
    uid
        SOPInstanceUID, ``instance_key``, or path of the file.

    Returns
    -------
    Header
        The elements that were stored in the import mode of the file.

    Raises
    ------
    InstanceNotFound

    Examples
    --------
    >>> ((sop_uid,), *_) = wh.sql("select SOPInstanceUID from instances").fetchall()
    >>> wh.header(sop_uid)["Modality"]
    'CT'
    """
    from warehouse.catalog.header_rows import header_of_instance

    return header_of_instance(wh.catalog, os.fspath(uid))


@names_failures
def volume(
    wh: Opened, series_uid: str, *, rescale: bool | str = False,
    window: tuple[float, float] | str | None = None, invert: bool = False,
    color: bool = False, overlay: int | None = None, stack_id: str | None = None,
) -> LazyVolume:  # fmt: skip
    """Open a series as a lazy array; voxels are read when it is sliced.

    Parameters
    ----------
    series_uid
        SeriesInstanceUID, or ``series_key``.
    rescale, window, invert, color, overlay
        How stored values are converted; see ``warehouse.pixels.values.Values``.
    stack_id
        StackID (0020,9056) of the frames to open, if an object has several stacks.

    Returns
    -------
    LazyVolume
        Axes (slice, row, column), preceded by others if there are several volumes. ``affine`` maps
        an index to patient coordinates in mm, LPS.

    Raises
    ------
    SeriesNotFound, NotAVolume
    NoSingleUnit
        ``rescale`` or ``window`` is requested of images in color.

    Examples
    --------
    >>> volume = wh.volume(uid)
    >>> volume.shape, volume[0].dtype
    ((3, 128, 128), dtype('int16'))
    """
    from warehouse.pixels.values import Values
    from warehouse.pixels.volume import open_volume

    values = Values(rescale, window, invert, color, overlay)
    return open_volume(wh.catalog, series_uid, values=values, stack_id=stack_id)


@names_failures
def gradients(wh: Opened, series_uid: str, *, isotropic: bool = False) -> Gradients:
    """Return the b-value and direction of each volume of a diffusion series.

    Parameters
    ----------
    series_uid
        SeriesInstanceUID, or ``series_key``.
    isotropic
        Include volumes with a b-value but no direction, such as traces.

    Returns
    -------
    Gradients
        b-values in s/mm² and unit vectors, in the order and axes of the NIfTI file of ``volume``.
    """
    from warehouse.pixels.gradients import gradients
    from warehouse.pixels.volume import open_volume

    return gradients(wh.catalog, open_volume(wh.catalog, series_uid), isotropic=isotropic)


@names_failures
def gallery(wh: Opened, *series_uids: str, limit: int | None = None) -> Gallery:
    """Return series with their thumbnails, displayed as a table in a notebook.

    Parameters
    ----------
    series_uids
        Series to show; if none are given, the first ones of the warehouse.
    limit
        Largest number of series; by default all that are given, or else 24.
    """
    from warehouse.pixels.gallery import open_gallery

    return open_gallery(wh.catalog, series_uids, limit=limit)


@names_failures
def iter_volumes(
    wh: Opened, cohort: Run | str | Iterable[str], *, ahead: int = 1, rescale: bool | str = False
) -> Iterator[Loaded]:  # fmt: skip
    """Yield every series of a cohort with its voxels, reading the next ones in the background.

    Parameters
    ----------
    cohort
        A run, its name, the name of a cohort, or SeriesInstanceUIDs.
    ahead
        Number of series read in advance.
    rescale
        See ``warehouse.pixels.values.Values``.

    Yields
    ------
    Loaded
        A series with its volume and voxels, or with the reason why it has none.
    """
    from warehouse.cohorts.runs import Run, members, series_keys
    from warehouse.pixels.prefetch import iter_volumes
    from warehouse.pixels.values import Values

    if isinstance(cohort, str | Run):
        cohort = series_keys(members(wh.root, cohort))
    return iter_volumes(wh.catalog, cohort, ahead=ahead, values=Values(rescale=rescale))


@names_failures
def stack(
    wh: Opened, series_uid: str, *, rescale: bool | str = False, color: bool = False,
    overlay: int | None = None,
) -> Stack:  # fmt: skip
    """Return the frames of any series in the order of acquisition, without geometry.

    Parameters
    ----------
    series_uid
        SeriesInstanceUID, or ``series_key``.
    rescale, color, overlay
        See ``warehouse.pixels.values.Values``.

    Returns
    -------
    Stack
        A lazy sequence: ``len(stack)``, ``stack[i]`` with axes (row, column), ``stack[a:b]``.

    Raises
    ------
    SeriesNotFound
    NoSingleUnit
        ``rescale`` is requested of images in color.

    Examples
    --------
    >>> len(wh.stack(uid))
    3
    """
    from warehouse.pixels.stack import open_stack
    from warehouse.pixels.values import Values

    values = Values(rescale, color=color, overlay=overlay)
    return open_stack(wh.catalog, series_uid, values=values)


def duplicates(wh: Opened, *, limit: int | None = None) -> Iterator[Compared]:
    """Read each duplicate and the file that holds its instance, and compare them.

    Parameters
    ----------
    limit
        Largest number of duplicates.

    Yields
    ------
    Compared
        ``verdict`` is ``same`` for a true copy.
    """
    from warehouse.catalog.duplicates import compare_duplicates

    access = S3Access.from_variables(os.environ)
    return compare_duplicates(wh.catalog, limit=limit, s3=access)
