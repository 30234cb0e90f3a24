"""Metrics of segmentations and scores, by numpy and scipy.

In: arrays. Out: numbers in the unit that the name says, or None where a metric is not defined: of
two masks that are both empty, of a distance to an empty one, of scores of one class only.
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


def _same(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise UsageError(f"masks of shapes {a.shape} and {b.shape} cannot be compared")


def dice(prediction: np.ndarray, truth: np.ndarray) -> float | None:
    """Return twice the overlap of two masks by the sum of their sizes; None if both are empty.

    >>> dice(np.array([1, 1, 0]), np.array([0, 1, 0]))
    0.6666666666666666
    """
    _same(prediction, truth)
    a, b = prediction != 0, truth != 0
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None


def hausdorff_95_mm(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]
) -> float | None:
    """Return the larger of the 95th percentiles of the distances between two surfaces, mm.

    Surfaces are the voxels of a mask with a neighbor, by a face, outside of it; distances are
    between centers of voxels. None if a mask is empty.

    Parameters
    ----------
    prediction, truth
        Masks of one shape.
    spacing_mm
        Between voxels along each axis.
    """
    _same(prediction, truth)
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
    """Return by how many millilitres a mask is larger than the truth.

    >>> volume_difference_ml(np.ones((2, 5, 5)), np.zeros((2, 5, 5)), (10, 2, 1))
    1.0
    """
    _same(prediction, truth)
    voxels = int((prediction != 0).sum()) - int((truth != 0).sum())
    return voxels * float(np.prod(list(spacing_mm))) / 1000


def confusion_matrix(
    predictions: Sequence[Any], truths: Sequence[Any]
) -> tuple[list[Any], list[list[int]]]:
    """Return the classes, sorted, and how often each was predicted (columns) where it is (rows).

    >>> confusion_matrix(["b", "a", "b"], ["a", "a", "b"])
    (['a', 'b'], [[1, 1], [0, 1]])
    """
    if len(predictions) != len(truths):
        raise UsageError("there have to be as many predictions as truths")
    classes = sorted({*predictions, *truths}, key=lambda each: (str(type(each)), each))
    place = {each: number for number, each in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for predicted, true in zip(predictions, truths, strict=True):
        counts[place[true], place[predicted]] += 1
    return classes, counts.tolist()


def auc(scores: Sequence[float], truths: Sequence[bool]) -> float | None:
    """Return the area under the ROC curve; scores that are equal count half.

    None if all are of one class.

    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    if len(scores) != len(truths):
        raise UsageError("there have to be as many scores as truths")
    values, is_true = np.asarray(scores, float), np.asarray(truths, bool)
    if np.isnan(values).any():
        raise UsageError("a score is NaN")
    positive, negative = values[is_true], values[~is_true]
    if not len(positive) or not len(negative):
        return None
    found = _scipy("stats").mannwhitneyu(positive, negative, method="asymptotic")
    return float(found.statistic / (len(positive) * len(negative)))
