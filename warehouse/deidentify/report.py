"""Write the report of an export for a data protection officer, with sample images."""

from __future__ import annotations

import base64
import csv
import html
import io
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pydicom
from pydicom.pixels.utils import pixel_array

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PICTURES = 12
_SIDE = 192
_LARGEST = 64 << 20
"""Largest size of a file, and of a frame, that is shown as thumbnail, in bytes."""
_ACTIONS = {
    "X": "removed", "Z": "emptied", "D": "replaced by a dummy or pseudonym",
    "U": "UID replaced by another one", "C": "cleaned: dates shifted, ages capped, words removed",
}  # fmt: skip
_BECAUSE = {
    "basic": "basic profile", "beyond": "not in the table, but identifying or unknown",
    "pixels": "pixels that may show text",
}  # fmt: skip
_LIMITS = (
    "Text in pixels is detected by the header only. Faces can be reconstructed from thin slices "
    "of heads; they are not removed. Below is a sample of images to inspect."
)
_STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:left}"
    "img{margin:4px;image-rendering:pixelated;background:#000}"
)


def write_report(
    folder: Path, facts: dict[str, Any], audit: str, left_out: str, manifest: str, name: str
) -> None:
    """Write the report of an export, from the files that accompany it.

    Parameters
    ----------
    folder
        Folder of the export, complete except for the report.
    facts
        Provenance of the export.
    audit, left_out, manifest, name
        File names of the input, and of the report.
    """
    how = facts["deidentified"]
    counts = facts["counts"]
    with (folder / left_out).open(encoding="utf-8", newline="") as file:
        reasons = Counter(row["reason"] for row in csv.DictReader(file))
    parts = [
        "<h1>De-identified export</h1>",
        _table(
            ("", ""),
            [
                ("standard", how["edition"]), ("profile", how["profile"]),
                ("options", ", ".join(how["options"]) or "none"),
                ("codes (CID 7050)", ", ".join(how["codes"])),
                ("written as", facts["format"]),
                ("instances de-identified", f"{counts['instances']:,}"),
                ("instances left out", f"{counts['left_out']:,}"),
                ("changes", f"{counts['changes']:,}"),
                ("pixels that may show text", "accepted" if how["pixels_accepted"] else "refused"),
                ("software", f"dicom-warehouse {facts['package_version']}"),
            ],
        ),
        "<h2>What was changed</h2>",
        _table(("action", "because of", "elements"), _changes(folder / audit)),
        "<h2>Left out</h2>",
        _table(("reason", "instances"), reasons.most_common()) if reasons else "<p>nothing</p>",
        "<h2>Limitations</h2>",
        f"<p>{_LIMITS}</p>",
        *_thumbnails(folder, folder / manifest),
    ]  # fmt: skip
    title = "<title>De-identified export</title>"
    page = f"<!doctype html><meta charset=utf-8>{title}<style>{_STYLE}</style>\n"
    (folder / name).write_text(page + "\n".join(parts) + "\n", encoding="utf-8")


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    def line(cells: Iterable[Any], cell: str) -> str:
        return "<tr>" + "".join(f"<{cell}>{html.escape(str(c))}</{cell}>" for c in cells) + "</tr>"

    top = line(head, "th") if any(head) else ""
    return f"<table>{top}{''.join(line(row, 'td') for row in rows)}</table>"


def _changes(audit: Path) -> list[tuple[str, str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for batch in pq.ParquetFile(audit).iter_batches(columns=["action", "option"]):
        keys = pc.binary_join_element_wise(
            batch["action"].cast("string"), batch["option"].cast("string"), "\t"
        )
        for counts in pc.value_counts(keys).to_pylist():
            action, _, option = counts["values"].partition("\t")
            counted[action, option] += counts["counts"]
    return [
        (_ACTIONS.get(action, action), _BECAUSE.get(option, option), f"{count:,}")
        for (action, option), count in sorted(counted.items())
    ]


def _thumbnails(folder: Path, manifest: Path) -> list[str]:
    try:
        from PIL import Image  # noqa: PLC0415 - an extra
    except ImportError:
        return ["<p>no images: they need the extra pixels</p>"]
    chosen: list[str] = []
    random_source = random.Random(manifest.stat().st_size)  # noqa: S311 - no secret depends on it
    with manifest.open(encoding="utf-8", newline="") as file:
        for index, row in enumerate(csv.DictReader(file)):
            if index < PICTURES:
                chosen.append(row["name"])
            elif (slot := random_source.randrange(index + 1)) < PICTURES:
                chosen[slot] = row["name"]
    images = []
    for name in sorted(chosen):
        try:
            frame = _middle_frame(folder / name)
        except Exception:  # noqa: BLE001, S112 - not an image, or no decoder is installed
            continue
        picture = Image.fromarray(frame)
        picture.thumbnail((_SIDE, _SIDE))
        out = io.BytesIO()
        picture.save(out, "PNG")
        data = base64.b64encode(out.getvalue()).decode()
        label = html.escape(name, quote=True)
        images.append(f'<img src="data:image/png;base64,{data}" alt="{label}" title="{label}">')
    return images or ["<p>no images: none can be decoded</p>"]


def _middle_frame(path: Path) -> np.ndarray:
    """Return the middle frame of a file as bytes (row, column), or (row, column, channel)."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    frames = int(header.get("NumberOfFrames", 1) or 1)
    samples = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
    if max(path.stat().st_size, samples * int(header.BitsAllocated) // 8) > _LARGEST:
        raise ValueError("too large for a thumbnail")
    # Read only that frame: a compressed file may decode to many times its size.
    array = pixel_array(path, index=frames // 2)
    if array.ndim == 3:
        color: np.ndarray = array.astype(np.uint8)
        return color
    low, high = np.percentile(array, (1, 99))
    scaled = (array.astype(np.float64) - low) / max(high - low, 1) * 255
    gray: np.ndarray = np.clip(scaled, 0, 255).astype(np.uint8)
    return gray
