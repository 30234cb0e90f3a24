"""Encode some volumes of a series as ``.nii.gz``.

In: the NIfTI image of a series. Out: the bytes of a file with the selected volumes, and with the
time between volumes and the phase encoding axis in its header.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from warehouse.errors import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEVEL = 5
"""Level of gzip: half the time of level 6, 1 % more bytes."""


def packed(
    image: Any, volumes: Sequence[int], *, is_series: bool, step_s: float | None, axis: str | None
) -> bytes:
    """Return a compressed NIfTI-1 file.

    Parameters
    ----------
    image
        The ``nibabel.Nifti1Image`` of the whole series.
    volumes
        Indices of the volumes to write, from 0.
    is_series
        Write a fourth axis, even for one volume.
    step_s
        Seconds between volumes, for ``pixdim[4]``; None, if unknown, is written as 0.
    axis
        Phase encoding axis, ``i`` or ``j``; None if unknown.
    """
    try:
        import nibabel  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotInstalled("NIfTI", "nibabel", "pixels") from None
    array = np.asarray(image.dataobj)
    volumes_last = array if array.ndim == 4 else array[..., None]
    selected = (
        volumes_last
        if list(volumes) == list(range(volumes_last.shape[3]))
        else volumes_last[..., list(volumes)]
    )
    output: Any = cast("Any", nibabel).Nifti1Image(
        selected if is_series else selected[..., 0], image.affine, image.header, dtype=array.dtype
    )
    header = output.header
    header.set_slope_inter(*image.header.get_slope_inter())
    header.set_xyzt_units("mm", "sec" if is_series and step_s else None)
    if is_series:
        header.set_zooms((*header.get_zooms()[:3], step_s or 0.0))
    else:
        header["pixdim"][4] = 0.0  # that of the whole series means nothing for one volume
    if axis is not None:
        phase, read = (0, 1) if axis == "i" else (1, 0)
        header.set_dim_info(freq=read, phase=phase, slice=2)
    return gzip.compress(output.to_bytes(), compresslevel=_LEVEL, mtime=0)
