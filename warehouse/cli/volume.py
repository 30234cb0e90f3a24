"""``volume``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from warehouse import errors
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import size_text
from warehouse.escape import escaped
from warehouse.outputs import refuse_existing, require_suffix, write_bytes

if TYPE_CHECKING:
    from warehouse.pixels.stack import Stack
    from warehouse.pixels.volume import LazyVolume

_LABELS = 12
"""Maximum number of values printed per label."""


def volume(
    series_uid: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    png: Path | None = None,
    montage: Path | None = None,
    nifti: Path | None = None,
    npy: Path | None = None,
    references: Path | None = None,
    slice_: Annotated[int | None, Parameter(name="--slice", allow_leading_hyphen=True)] = None,
    lead: Annotated[int, Parameter(name="--volume")] = 0,
    window: Annotated[tuple[float, float] | None, Parameter(allow_leading_hyphen=True)] = None,
    rescale: Annotated[bool, Parameter(negative="")] = False,
    mapping: str | None = None,
    color: Annotated[bool, Parameter(negative="")] = False,
    stack: Annotated[bool, Parameter(negative="")] = False,
    stack_id: str | None = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Show shape, spacing and affine of a series, and write it as PNG, NIfTI or NumPy array.

    Without an output file only the catalog is queried; no pixel data are read.

    Example: `dicom-warehouse volume 1.2.840.1 --png middle.png --npy head.npy`

    Parameters
    ----------
    series_uid
        SeriesInstanceUID, as in `dicom-warehouse sql "select SeriesInstanceUID from series"`.
    png
        PNG of one slice.
    montage
        PNG of up to 20 slices side by side.
    nifti
        .nii or .nii.gz with the affine: stored values, with slope and intercept in the header if
        they apply to every slice, else rescaled values; color as RGB.
    npy
        NumPy array with the axes that are printed: stored values, colors as stored.
    references
        Kerchunk JSON of an uncompressed series, which zarr, xarray and dask open without a copy.
    slice_
        Slice of --png, from 0; negative from the end; by default the middle one.
    lead
        Index of the volume of --png and --montage, from 0, in a series of several volumes.
    window
        Center and width in rescaled values, such as 40 400, or in values of --mapping; by default
        those of the header.
    rescale
        Write --npy and --nifti in the unit that the header states (float64), such as HU or Gy; the
        unit is printed.
    mapping
        Like --rescale, with the mapping of this label or unit, if there are several.
    color
        Write --npy in RGB, also from palettes and YBR.
    stack
        Use the frames as stored, in the order of acquisition: for series that are not a volume.
    stack_id
        StackID of the stack, if a multi-frame object has several.
    """
    from warehouse.pixels import files, pictures
    from warehouse.pixels.volume import LazyVolume

    targets = {
        "png": (png, (".png",)), "montage": (montage, (".png",)),
        "nifti": (nifti, (".nii", ".nii.gz")), "npy": (npy, (".npy",)),
        "references": (references, (".json",)),
    }  # fmt: skip
    written = [target for target, _ in targets.values() if target is not None]
    if len({target.absolute() for target in written}) < len(written):
        raise errors.UsageError("two outputs have the same name; use different names")
    for target, suffixes in targets.values():
        if target is not None:
            require_suffix(target, *suffixes)
            refuse_existing(target, force=force)
    if slice_ is not None and png is None:
        raise errors.UsageError("--slice selects the slice of a picture; name it with --png FILE")
    if (window is not None or lead) and png is None and montage is None:
        raise errors.UsageError(
            "--window and --volume apply to pictures only; name one with --png or --montage FILE"
        )
    if stack and (nifti or references or stack_id is not None):
        raise errors.UsageError(
            "a stack has no geometry; use --stack with --png, --montage or --npy"
        )
    wh = opened(warehouse)
    rescaled = mapping or rescale
    shown: LazyVolume | Stack = (
        wh.stack(series_uid, rescale=rescaled, color=color)
        if stack
        else wh.volume(series_uid, rescale=rescaled, color=color, stack_id=stack_id)
    )
    if png is not None:
        picture = pictures.slice_picture(shown, slice_, window=window, lead=lead)
        write_bytes(pictures.png(picture), png, force=force)
    if montage is not None:
        picture = pictures.montage(shown, window=window, lead=lead)
        write_bytes(pictures.png(picture), montage, force=force)
    if nifti is not None and isinstance(shown, LazyVolume):
        files.write_nifti(shown, nifti, force=force)
    if npy is not None:
        files.write_npy(shown, npy, force=force)
    if references is not None and isinstance(shown, LazyVolume):
        text = json.dumps(shown.references(), allow_nan=False)
        write_bytes(text.encode(), references, force=force)
    if as_json:
        send_document(_described(shown) | {"files": written})
        return 0
    if written and shown.values.rescale:
        print(f"unit     {shown.unit or 'not stated'}")
    for target in written:
        print(escaped(f"{target}: {size_text(target.stat().st_size)}"))
    if not written:
        print("\n".join(map(escaped, _facts(shown))), file=sys.stdout)
    return 0


def _described(shown: LazyVolume | Stack) -> dict[str, Any]:
    """Return the facts of an array for JSON; those that a stack does not have are None."""
    from warehouse.pixels.stack import Stack

    unit = shown.unit if shown.values.rescale else None
    facts: dict[str, Any] = dict.fromkeys(("dims", "shape", "dtype", "spacing_mm", "affine_lps"))
    if isinstance(shown, Stack):
        return facts | {"frames": len(shown), "unit": unit, "labels": {}}
    return facts | {
        "dims": shown.dims, "shape": shown.shape, "dtype": str(shown.dtype),
        "spacing_mm": shown.spacing, "affine_lps": shown.affine, "frames": None, "unit": unit,
        "labels": shown.labels,
    }  # fmt: skip


def _facts(shown: LazyVolume | Stack) -> list[str]:
    """Return the facts of an array that need no voxels, one per line."""
    import numpy as np

    from warehouse.pixels.stack import Stack

    unit = [f"unit     {shown.unit or 'not stated'}"] if shown.values.rescale else []
    if isinstance(shown, Stack):
        return [repr(shown).strip("<>"), *unit]
    sizes = ", ".join(f"{name} {size}" for name, size in zip(shown.dims, shown.shape, strict=True))
    lines = [f"axes     {sizes}", f"values   {shown.dtype}, {size_text(shown.nbytes)}", *unit]
    if shown.spacing is not None and shown.affine is not None:
        mm = " x ".join(f"{step:.6g}" for step in shown.spacing)
        lines.append(f"spacing  {mm} mm between slices, rows, columns")
        lines.append("affine   (slice, row, column, 1) to mm, LPS")
        rows = np.round(shown.affine, 6) + 0.0  # no minus before zero
        lines += ["         " + " ".join(f"{number:12.6f}" for number in row) for row in rows]
    for name, values in shown.labels.items():
        rest = [f"… {len(values)} in all"] if len(values) > _LABELS else []
        lines.append(f"{name}  {', '.join([*map(str, values[:_LABELS]), *rest])}")
    return lines
