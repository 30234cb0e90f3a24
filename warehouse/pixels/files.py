"""Write a volume as NIfTI-1 or ``.npy``; an existing file is not replaced.

In: a ``LazyVolume`` (for ``.npy`` also a ``Stack``). Out: a file, which gets its name only when it
is complete.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from warehouse.errors import NotInstalled, UsageError
from warehouse.outputs import draft_of, place, refuse_existing, require_suffix, write_bytes
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from warehouse.pixels.stack import Stack
    from warehouse.pixels.volume import LazyVolume

_PORTION_BYTES = 64 << 20
_LONGEST = 32767
"""Largest length of an axis in NIfTI-1, which uses 16 bits."""
JITTER_S = 0.02
"""Tolerance, in s, of the times of volumes from a regular step: clocks tick every 2.5 ms …"""
_JITTER = 0.02
"""… or this fraction of the step, if that is greater."""


def nifti(volume: LazyVolume) -> Any:
    """Return a volume as a ``nibabel.Nifti1Image``.

    Its axes are (column, row, slice), then one for all others in the order of the array. Its affine
    is in RAS, mm, as NIfTI requires. If one slope and intercept applies to all frames, the image
    has the stored values, and slope and intercept are in the header. Otherwise it has the rescaled
    numbers (``rescale=True``) as float64. Their unit is in ``descrip``. Color, including palettes,
    is RGB24. ``pixdim[4]`` is the step between volumes in s, or 0 if they state no regular times.

    Raises
    ------
    UsageError
        The frames have no positions in space, or colors have more than 8 bits.
    NotInstalled, NoSingleUnit, PixelsUnreadable
    """
    try:
        import nibabel  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotInstalled("NIfTI", "nibabel", "pixels") from None
    ras = volume.affine_ras
    if ras is None:
        raise UsageError("a film has no positions in space; write it with --npy")
    if max(math.prod(volume.shape[: volume.leading]), *volume.shape) > _LONGEST:
        raise UsageError(
            f"an axis of more than {_LONGEST} is too long for NIfTI-1; write it with --npy"
        )
    is_color = not volume.images[0].is_grayscale
    if is_color and volume.values.overlay is None:
        volume = volume.with_values(replace(volume.values, color=True))
    array, scale, unit = (np.asarray(volume), None, None) if is_color else _numbers(volume)
    if "sample" in volume.dims:
        rgb = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        if array.dtype != np.uint8:
            raise UsageError("NIfTI has no colors of more than 8 bits; write them with --npy")
        array = np.ascontiguousarray(array).view(rgb)[..., 0]
    leading = volume.leading
    array = array.reshape(-1, *array.shape[leading:]).transpose(3, 2, 1, 0)
    affine = ras[:, [2, 1, 0, 3]]
    made: Any = cast("Any", nibabel).Nifti1Image(
        array if leading else array[..., 0], affine, dtype=array.dtype
    )
    step_s = regular_step(volume.labels.get("time_s", ())) if leading == 1 else None
    made.header.set_xyzt_units("mm", "sec" if step_s else None)
    if leading:
        made.header["pixdim"][4] = step_s or 0  # nibabel's default, 1, would be read as 1 s
    made.set_sform(affine, code=1)
    made.set_qform(affine, code=1, strip_shears=True)
    if scale is not None:
        made.header.set_slope_inter(*scale)
    if unit is not None:
        made.header["descrip"] = f"unit: {unit}".encode("ascii", "replace")[:79]
    return made


def regular_step(times: Sequence[float]) -> float | None:
    """Return the step of regular times, in s; None for fewer than three or uneven times.

    Volumes may be missing, or the first a reference: one step, or uneven ones, prove nothing.
    """
    steps = [b - a for a, b in pairwise(times)]
    if len(steps) < 2:
        return None
    step = (times[-1] - times[0]) / len(steps)
    is_regular = max(abs(each - step) for each in steps) <= max(JITTER_S, _JITTER * step)
    return step if step > 0 and is_regular else None


def _numbers(volume: LazyVolume) -> tuple[np.ndarray, tuple[float, float] | None, str | None]:
    """Return an array, and slope, intercept and unit that map it to numbers."""
    if not volume.values.are_stored:
        return np.asarray(volume), None, volume.unit
    rescaled = volume.with_values(Values(rescale=True))
    unit = rescaled.unit
    mappings = {one.key: one for one in rescaled.mappings()}
    (one, *others) = mappings.values()
    scale = (one.slope, one.intercept)
    # NIfTI stores slope and intercept as float32; a slope of 0 means no scaling.
    with np.errstate(over="ignore"):
        held = np.array(scale, np.float64).astype(np.float32)
    if not others and one.table is None and np.isfinite(held).all() and held[0] != 0:
        array = np.asarray(volume)
        if one.holds(array):
            return array, scale, unit
    return np.asarray(rescaled), None, unit


def write_nifti(volume: LazyVolume, target: Path, *, force: bool = False) -> None:
    """Write ``.nii`` or ``.nii.gz``; ``force`` replaces an existing file.

    Raises
    ------
    TargetExists, UsageError, ExportFailed, NotInstalled
    """
    require_suffix(target, ".nii", ".nii.gz")
    refuse_existing(target, force=force)
    content = nifti(volume).to_bytes()
    if target.name.lower().endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    write_bytes(content, target, force=force)


def write_npy(shown: LazyVolume | Stack, target: Path, *, force: bool = False) -> None:
    """Write the array as ``.npy``, a portion at a time; ``force`` replaces an existing file.

    Raises
    ------
    TargetExists, UsageError, ExportFailed
    """
    require_suffix(target, ".npy")
    refuse_existing(target, force=force)
    lazy = cast("Any", shown)
    first = lazy[:1]
    portion = max(1, _PORTION_BYTES // max(1, first.nbytes))
    with draft_of(target) as draft:
        shape = (len(lazy), *first.shape[1:])
        out = np.lib.format.open_memmap(draft, mode="w+", dtype=first.dtype, shape=shape)
        for begin in range(0, len(lazy), portion):
            out[begin : begin + portion] = lazy[begin : begin + portion]
        out.flush()
        place(draft, target, force=force)
