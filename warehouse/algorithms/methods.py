"""Predefined methods of evaluation, used as functions ``warehouse.algorithms.methods:…``.

In: the case of an evaluation. Out: the value of ``metrics.json``: results per job, and aggregates.
A method compares predictions and ground truth of every job, of the one socket that both have.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.algorithms import metrics
from warehouse.algorithms.mha import read_geometry
from warehouse.components.images import arrays, read_image
from warehouse.errors import OutputRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.algorithms.mha import Geometry


def segmentation(case: Any) -> dict[str, Any]:
    """Compare masks: Dice, 95th percentile of Hausdorff distance (mm), volume difference (ml)."""
    results = []
    for job, predicted, true in _pairs(case.input_folder, images=True):
        (a, geometry), (b, other) = _mask(predicted), _mask(true)
        if a.shape != b.shape or not geometry.is_close(other):
            raise OutputRefused(f"job {job}: prediction and ground truth are on different grids")
        spacing = geometry.spacing[::-1]
        results.append(
            {
                "job": job,
                "dice": metrics.dice(a, b),
                "hausdorff_95_mm": metrics.hausdorff_95_mm(a, b, spacing),
                "volume_difference_ml": metrics.volume_difference_ml(a, b, spacing),
            }
        )
    names = ("dice", "hausdorff_95_mm", "volume_difference_ml")
    return {"metrics-json-file": {"results": results, "aggregates": _means(results, names)}}


def classification(case: Any) -> dict[str, Any]:
    """Compare classes by confusion matrix and accuracy, or scores of a boolean truth by AUC."""
    results, predictions, truths = [], [], []
    for job, predicted, true in _pairs(case.input_folder, images=False):
        predictions.append(json.loads(predicted.read_text(encoding="utf-8")))
        truths.append(json.loads(true.read_text(encoding="utf-8")))
        results.append({"job": job, "is_right": predictions[-1] == truths[-1]})
    aggregates: dict[str, Any] = {"count": len(results)}
    if all(isinstance(truth, bool) for truth in truths) and not all(
        isinstance(each, bool) for each in predictions
    ):
        aggregates["auc"] = metrics.auc(predictions, truths)
    else:
        classes, matrix = metrics.confusion_matrix(predictions, truths)
        aggregates |= {"classes": classes, "confusion_matrix": matrix}
        aggregates["accuracy"] = sum(each["is_right"] for each in results) / len(results)
    return {"metrics-json-file": {"results": results, "aggregates": aggregates}}


def _pairs(folder: Path, *, images: bool) -> Iterator[tuple[str, Path, Path]]:
    """Yield job id, predicted file and ground truth file of each job, of one socket.

    Raises
    ------
    OutputRefused
        Not exactly one socket has prediction and ground truth, or one of them is missing for a job:
        a mean over only some of the cases, or over several outputs, would be misleading.
    """
    predictions = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    pairs_by_slug: dict[str, list[tuple[str, Path, Path]]] = defaultdict(list)
    for job in predictions:
        for output in job["outputs"]:
            path = output["socket"]["relative_path"]
            if images == (output["socket"]["super_kind"] == "Image"):
                predicted = folder / job["pk"] / "output" / path
                true = folder / "ground_truth" / job["pk"] / path
                is_supported = images or path.endswith(".json")
                if is_supported and predicted.exists() and true.exists():
                    pair = (job["pk"], _image_file(predicted), _image_file(true))
                    pairs_by_slug[output["socket"]["slug"]].append(pair)
    if len(pairs_by_slug) != 1:
        raise OutputRefused(
            f"the ground truth must be of one output that is {'an image' if images else 'JSON'}; "
            f"it is of {', '.join(sorted(pairs_by_slug)) or 'none'}"
        )
    ((slug, pairs),) = pairs_by_slug.items()
    if len(pairs) != len(predictions):
        raise OutputRefused(
            f"{len(predictions) - len(pairs)} of {len(predictions)} jobs have no prediction or no "
            f"ground truth of {slug}"
        )
    yield from pairs


def _image_file(path: Path) -> Path:
    """Return the only file in the folder of an image; other paths unchanged."""
    return next(path.iterdir()) if path.is_dir() else path


def _mask(path: Path) -> tuple[np.ndarray, Geometry]:
    """Return a mask (slice, row, column) and its geometry."""
    image, geometry = read_image(path), read_geometry(path)
    if geometry is None:
        raise OutputRefused(
            "a mask is not a three-dimensional MHA file, so its voxel spacing is unknown"
        )
    array = np.concatenate([block.ravel() for block in arrays(image)]).reshape(image.shape)
    return array, geometry


def _means(results: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Return the number of results, and mean and number of defined values of each metric."""
    aggregates: dict[str, Any] = {"count": len(results)}
    for name in names:
        known = [result[name] for result in results if result[name] is not None]
        aggregates[name] = {
            "mean": math.fsum(known) / len(known) if known else None, "defined": len(known),
        }  # fmt: skip
    return aggregates
