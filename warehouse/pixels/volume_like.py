"""``VolumeLike``: the protocol of ``LazyVolume`` that rendering and references need.

``LazyVolume`` shows itself in a notebook and refers to itself, so it stands behind ``gallery`` and
``references``; these take what has the following.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from warehouse.pixels.facts import Headers
    from warehouse.pixels.filling import Source
    from warehouse.pixels.image import Image
    from warehouse.pixels.layout import Layout
    from warehouse.pixels.mappings import Mapping
    from warehouse.pixels.values import Values


class VolumeLike(Protocol):
    """Attributes and methods of ``LazyVolume``, which documents them."""

    series_uid: str
    values: Values
    headers: Headers
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    affine: np.ndarray | None
    labels: dict[str, list[Any]]
    label_dims: dict[str, tuple[str, ...]]

    @property
    def spacing(self) -> tuple[float, float, float] | None: ...  # noqa: D102
    @property
    def leading(self) -> int: ...  # noqa: D102
    @property
    def layout(self) -> Layout: ...  # noqa: D102
    @property
    def images(self) -> tuple[Image, ...]: ...  # noqa: D102
    @property
    def unit(self) -> str | None: ...  # noqa: D102
    def mappings(self) -> list[Mapping]: ...  # noqa: D102
    def source_of(self, *place: int) -> Source: ...  # noqa: D102
    def with_values(self, values: Values) -> VolumeLike: ...  # noqa: D102
    def __getitem__(self, index: Any) -> np.ndarray: ...
