"""Methods of evaluation that can be taken as they are: ``warehouse.algorithms.methods:…``.

In: the folder of an evaluation. Out: ``metrics.json``: results of each case, and their mean. A
method compares the one socket that predictions and truth share, of every job.
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


def segmentation(case: Any) -> dict[str, Any]:
    """Compare masks: Dice, 95th percentile of the Hausdorff distance in mm, difference in ml."""
    results = []
    for job, predicted, true in _pairs(case.input_folder, images=True):
        (a, spacing), (b, other) = _mask(predicted), _mask(true)
        if a.shape != b.shape or not np.allclose(spacing, other, rtol=1e-4, atol=0):
            raise OutputRefused(f"job {job}: prediction and truth lie on different grids")
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
    """Compare classes or scores: confusion matrix, accuracy; of numbers and true or false AUC."""
    results, predictions, truths = [], [], []
    for job, predicted, true in _pairs(case.input_folder, images=False):
        predictions.append(json.loads(predicted.read_text(encoding="utf-8")))
        truths.append(json.loads(true.read_text(encoding="utf-8")))
        results.append({"job": job, "is_right": predictions[-1] == truths[-1]})
    found: dict[str, Any] = {"count": len(results)}
    if all(isinstance(truth, bool) for truth in truths) and not all(
        isinstance(each, bool) for each in predictions
    ):
        found["auc"] = metrics.auc(predictions, truths)
    else:
        classes, matrix = metrics.confusion_matrix(predictions, truths)
        found |= {"classes": classes, "confusion_matrix": matrix}
        found["accuracy"] = sum(each["is_right"] for each in results) / len(results)
    return {"metrics-json-file": {"results": results, "aggregates": found}}


def _pairs(folder: Path, *, images: bool) -> Iterator[tuple[str, Path, Path]]:
    """Yield each job with the file that it brought and that of the truth, of one socket.

    Raises
    ------
    OutputRefused
        There is no socket that both have, or more than one, or a job lacks one of the two: a mean
        over some of the cases, or over several outputs, would be taken for that of the algorithm.
    """
    predictions = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[str, Path, Path]]] = defaultdict(list)
    for job in predictions:
        for output in job["outputs"]:
            path = output["socket"]["relative_path"]
            if images == (output["socket"]["super_kind"] == "Image"):
                predicted = folder / job["pk"] / "output" / path
                true = folder / "ground_truth" / job["pk"] / path
                is_read = images or path.endswith(".json")
                if is_read and predicted.exists() and true.exists():
                    pair = (job["pk"], _one(predicted), _one(true))
                    found[output["socket"]["slug"]].append(pair)
    if len(found) != 1:
        raise OutputRefused(
            f"the truth has to be about one output that is {'an image' if images else 'JSON'}, "
            f"and is about {', '.join(sorted(found)) or 'none'}"
        )
    ((slug, pairs),) = found.items()
    if len(pairs) != len(predictions):
        raise OutputRefused(
            f"{len(predictions) - len(pairs)} of {len(predictions)} jobs have no prediction or no "
            f"truth of {slug}"
        )
    yield from pairs


def _one(path: Path) -> Path:
    """Return the file of an image, which is the one in its folder."""
    return next(path.iterdir()) if path.is_dir() else path


def _mask(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return a mask (slice, row, column) and the distances of its voxels along each axis, mm."""
    image, geometry = read_image(path), read_geometry(path)
    if geometry is None:
        raise OutputRefused("a mask is no MHA of three axes, whose millimetres are not known")
    array = np.concatenate([block.ravel() for block in arrays(image)]).reshape(image.shape)
    return array, geometry.spacing[::-1]


def _means(results: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {"count": len(results)}
    for name in names:
        known = [result[name] for result in results if result[name] is not None]
        found[name] = {
            "mean": math.fsum(known) / len(known) if known else None, "defined": len(known),
        }  # fmt: skip
    return found
