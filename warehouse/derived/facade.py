"""What a warehouse says of derived objects: methods that ``Warehouse`` inherits.

In: the open catalog. Out: segmentations, structure sets, dose-volume histograms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.derived.segmentation import Segmentation, open_segmentation
from warehouse.store.damage import names_failures

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.catalog.connect import Catalog


class DerivedObjects:
    """Methods of a warehouse for segmentations, structure sets and dose."""

    root: Path

    @property
    def catalog(self) -> Catalog:
        """Open catalog."""
        raise NotImplementedError

    @names_failures
    def segmentation(
        self, series_uid: str, *, sop_instance_uid: str | None = None, resample: bool = False,
        own_grid: bool = False,
    ) -> Segmentation:  # fmt: skip
        """Return a segmentation as masks on the grid of the images that were segmented.

        Frames that lie on another grid are refused unless ``resample`` or ``own_grid`` is asked
        for; see ``warehouse.derived.segmentation.open_segmentation``.
        """
        return open_segmentation(
            self.catalog, series_uid, sop_instance_uid=sop_instance_uid, resample=resample,
            own_grid=own_grid,
        )  # fmt: skip
