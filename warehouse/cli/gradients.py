"""``gradients``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Root, opened
from warehouse.cli.document import send_document
from warehouse.escape import escaped
from warehouse.outputs import refuse_existing, write_bytes

if TYPE_CHECKING:
    from warehouse.pixels.gradients import Gradients

Base = Annotated[
    Path | None,
    Parameter(
        name=["--output", "-o"],
        help="Name of both files without suffix: -o dwi writes dwi.bval and dwi.bvec.",
    ),
]


def gradients(
    series_uid: str,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    output: Base = None,
    isotropic: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
    force: Force = False,
) -> int:
    """Show b-values and directions of a diffusion series, or write .bval and .bvec for FSL.

    They match the NIfTI file that `volume --nifti` writes: b-values in s/mm², directions along its
    axes in FSL's convention.

    Example: `dicom-warehouse gradients 1.2.840.1 -o dwi`

    Parameters
    ----------
    series_uid
        SeriesInstanceUID, as in `dicom-warehouse sql "from diffusion_series"`.
    isotropic
        Keep weighted volumes without a direction beside others that have one, such as a trace.
    """
    targets = [] if output is None else [Path(f"{output}.bval"), Path(f"{output}.bvec")]
    for target in targets:
        refuse_existing(target, force=force)
    made = opened(warehouse).gradients(series_uid, isotropic=isotropic)
    for target, content in zip(targets, (made.bval, made.bvec), strict=False):
        write_bytes(content.encode(), target, force=force)
    for note in _notes(made):
        print(note, file=sys.stderr)
    if as_json:
        send_document(_facts(made) | {"files": targets})
    elif targets:
        print("\n".join(escaped(str(target)) for target in targets))
    else:
        print("volume  b_value  x y z along the axes of the NIfTI file")
        for volume, b_value, vector in _rows(made):
            print(f"{volume:6}  {b_value:7g}  {' '.join(f'{part:.6g}' for part in vector)}")
    return 0


def _rows(made: Gradients) -> list[tuple[int, float, list[float]]]:
    vectors = (made.vectors + 0.0).tolist()  # no minus before zero
    return list(zip(made.volumes, made.b_values.tolist(), vectors, strict=True))


def _facts(made: Gradients) -> dict[str, Any]:
    return {
        "volumes": list(made.volumes),
        "b_values": made.b_values.tolist(),
        "vectors": (made.vectors + 0.0).tolist(),
        "left_out": list(made.isotropic),
        "inferred": list(made.inferred),
        "without_creator": made.without_creator,
    }


def _notes(made: Gradients) -> list[str]:
    """Return notes on what the headers do not state directly."""
    notes = []
    if made.isotropic:
        which = ", ".join(map(str, made.isotropic))
        notes.append(
            f"left out, as weighted without a direction: volume {which}. The NIfTI file has "
            "them; --isotropic keeps them"
        )
    if made.inferred:
        which = ", ".join(map(str, made.inferred))
        notes.append(f"volume {which} has no b-value: 0 is assumed, as others are weighted")
    if made.without_creator:
        notes.append(
            "read from private elements without creator; other elements confirm the vendor"
        )
    return notes
