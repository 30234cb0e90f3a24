"""Agreement with dcm2niix on real files, field by field and maker by maker.

Run with ``DICOM_CORPUS=folder``. Every MR series of the folder is converted by dcm2niix and asked
of a warehouse that is made for it.
A field counts where dcm2niix states it. j has the other sign there, because it turns rows over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import dcm2niix
import numpy as np

import warehouse

BINARY = Path(dcm2niix.__file__).parent / "dcm2niix"
SERIES = """
    select series.series_key, coalesce(any_value(manufacturer_name), '?'),
        list(distinct images.path),
        any_value(phase_encoding_axis), any_value(bids_phase_encoding_direction),
        any_value(effective_echo_spacing_s), any_value(total_readout_time_s)
    from series join images using (series_key) left join mr_encoding using (instance_id)
    where series.Modality = 'MR' group by all order by 2, 1
"""
B_VALUES = "select distinct b_value from diffusion_frames where series_key = ? order by 1"


def converted(paths: list[str], out: Path) -> tuple[dict[str, Any], list[float] | None]:
    """Return the first sidecar and the b-values that dcm2niix writes."""
    (out / "in").mkdir(parents=True)
    for number, path in enumerate(paths):
        (out / "in" / f"{number:06}.dcm").symlink_to(path)
    command = [BINARY, "-b", "y", "-z", "n", "-f", "o", "-o", out, out / "in"]
    subprocess.run(command, capture_output=True, check=False, timeout=300)
    sidecars = sorted(out.glob("*.json"))
    values = sorted(out.glob("*.bval"))
    return (
        json.loads(sidecars[0].read_text()) if sidecars else {},
        np.unique(np.loadtxt(values[0])).tolist() if values else None,
    )


def flipped(direction: str | None) -> str | None:
    """Return a direction in a file whose rows are turned over."""
    if direction is None or direction[0] != "j":
        return direction
    return "j" if direction.endswith("-") else "j-"


def main() -> int:
    """Print the table; 1 if a stated value differs."""
    counts: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        wh = warehouse.open(Path(folder) / "w", create=True)
        wh.ingest(os.environ["DICOM_CORPUS"])
        for number, row in enumerate(wh.sql(SERIES).fetchall()):
            uid, maker, paths, axis, direction, spacing, readout = row
            sidecar, b_values = converted(paths, Path(folder) / str(number))
            found = wh.catalog.connection.execute(B_VALUES, [uid]).fetchall()
            theirs = sidecar.get("PhaseEncodingDirection")
            pairs = {
                "axis": (
                    (theirs or sidecar.get("PhaseEncodingAxis") or " ")[0].strip() or None,
                    axis,
                ),
                "direction": (theirs, flipped(direction)),
                "echo spacing": (sidecar.get("EffectiveEchoSpacing"), spacing),
                "readout": (sidecar.get("TotalReadoutTime"), readout),
                "b-values": (b_values, [b for (b,) in found] or None),
            }
            for name, (wanted, ours) in pairs.items():
                if wanted is None:
                    continue
                if ours is None:
                    verdict = "not stated here"
                elif isinstance(wanted, str):
                    verdict = "equal" if wanted == ours else "different"
                else:
                    same = np.shape(wanted) == np.shape(ours) and np.allclose(
                        wanted, ours, rtol=1e-3
                    )
                    verdict = "equal" if same else "different"
                counts[maker, name, verdict] += 1
    for (maker, name, verdict), count in sorted(counts.items()):
        print(f"{maker:12} {name:14} {verdict:16} {count:4}")
    return int(any(verdict == "different" for *_, verdict in counts))


if __name__ == "__main__":
    sys.exit(main())
