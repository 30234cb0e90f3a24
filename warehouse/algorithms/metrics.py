"""Metrics of segmentations and scores, with NumPy and SciPy.

In: arrays. Out: numbers in the unit stated in the name, or None where a metric is undefined: Dice
of two empty masks, distance to an empty mask, AUC of a single class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.errors import NotInstalled, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def _scipy(name: str) -> Any:
    try:
        import scipy.ndimage  # noqa: PLC0415 - an extra
        import scipy.stats  # noqa: PLC0415
    except ImportError:
        raise NotInstalled("this metric", "scipy", "evaluation") from None
    return {"ndimage": scipy.ndimage, "stats": scipy.stats}[name]


def _require_same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise UsageError(f"masks of shapes {a.shape} and {b.shape} cannot be compared")


def dice(prediction: np.ndarray, truth: np.ndarray) -> float | None:
    """Return the Dice coefficient of two masks; None if both are empty.

    >>> dice(np.array([1, 1, 0]), np.array([0, 1, 0]))
    0.6666666666666666
    """
    _require_same_shape(prediction, truth)
    a, b = prediction != 0, truth != 0
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None


def hausdorff_95_mm(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]
) -> float | None:
    """Return the larger of the 95th percentiles of the distances between two surfaces, mm.

    The surface of a mask is its voxels with a face neighbor outside of it; distances are between
    voxel centers. None if a mask is empty.

    Parameters
    ----------
    prediction, truth
        Masks of the same shape.
    spacing_mm
        Voxel spacing along each axis, in mm.
    """
    _require_same_shape(prediction, truth)
    ndimage = _scipy("ndimage")
    surfaces = []
    for mask in (prediction != 0, truth != 0):
        if not mask.any():
            return None
        surfaces.append(mask & ~ndimage.binary_erosion(mask))
    a, b = surfaces
    spacing = [float(step) for step in spacing_mm]
    to_b = ndimage.distance_transform_edt(~b, sampling=spacing)[a]
    to_a = ndimage.distance_transform_edt(~a, sampling=spacing)[b]
    return float(max(np.percentile(to_b, 95), np.percentile(to_a, 95)))


def volume_difference_ml(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]
) -> float:
    """Return the volume of a mask minus that of the ground truth, in ml.

    >>> volume_difference_ml(np.ones((2, 5, 5)), np.zeros((2, 5, 5)), (10, 2, 1))
    1.0
    """
    _require_same_shape(prediction, truth)
    voxels = int((prediction != 0).sum()) - int((truth != 0).sum())
    return voxels * float(np.prod(list(spacing_mm))) / 1000


def confusion_matrix(
    predictions: Sequence[Any], truths: Sequence[Any]
) -> tuple[list[Any], list[list[int]]]:
    """Return the sorted classes and the counts by true class (rows) and predicted class (columns).

    >>> confusion_matrix(["b", "a", "b"], ["a", "a", "b"])
    (['a', 'b'], [[1, 1], [0, 1]])
    """
    if len(predictions) != len(truths):
        raise UsageError(
            f"{len(predictions)} predictions and {len(truths)} truths: pass one truth each"
        )
    if any(isinstance(each, list | dict) for each in (*predictions, *truths)):
        raise UsageError("a list or an object is no class; compare texts, numbers or booleans")
    classes = sorted({*predictions, *truths}, key=lambda each: (str(type(each)), each))
    index = {each: number for number, each in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for predicted, true in zip(predictions, truths, strict=True):
        counts[index[true], index[predicted]] += 1
    return classes, counts.tolist()


def auc(scores: Sequence[float], truths: Sequence[bool]) -> float | None:
    """Return the area under the ROC curve; ties count half; None if there is only one class.

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    if len(scores) != len(truths):
        raise UsageError(f"{len(scores)} scores and {len(truths)} truths: pass one truth each")
    try:
        values, is_true = np.asarray(scores, float), np.asarray(truths, bool)
    except (TypeError, ValueError):
        raise UsageError("a score is no number") from None
    if np.isnan(values).any():
        raise UsageError("a score is NaN")
    positive, negative = values[is_true], values[~is_true]
    if not len(positive) or not len(negative):
        return None
    result = _scipy("stats").mannwhitneyu(positive, negative, method="asymptotic")
    return float(result.statistic / (len(positive) * len(negative)))
