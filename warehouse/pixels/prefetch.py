"""Iterate over many series; the next ones are read in the background.

In: a catalog and series. Out: a stream of ``Loaded``. At most ``ahead`` + 1 arrays are in memory.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.errors import PixelError, SeriesNotFound, UsageError
from warehouse.pixels.volume import LazyVolume, open_volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.values import Values


@dataclass(frozen=True, slots=True)
class Loaded:
    """One series: its volume and voxels, or the reason why it has none."""

    series_uid: str
    volume: LazyVolume | None
    array: np.ndarray | None
    why_not: str | None


def iter_volumes(
    catalog: Catalog, series_uids: Iterable[str], *, ahead: int = 1, values: Values | None = None
) -> Iterator[Loaded]:
    """Yield each series with its voxels in memory, in the order given.

    Parameters
    ----------
    catalog
        Open catalog; queried only in the calling thread.
    series_uids
        SeriesInstanceUIDs.
    ahead
        Number of series read in advance.
    values
        How stored values are converted; by default they are not.

    Raises
    ------
    UsageError
    """
    if ahead < 0:
        raise UsageError("ahead is 0 or more")
    return _stream(catalog, iter(series_uids), ahead, values)


def _stream(
    catalog: Catalog, waiting: Iterator[str], ahead: int, values: Values | None
) -> Iterator[Loaded]:
    running: deque[Future[Loaded]] = deque()
    with ThreadPoolExecutor(1) as pool:
        try:
            for series_uid in waiting:
                running.append(_begin(pool, catalog, series_uid, values))
                if len(running) > ahead:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def _begin(
    pool: ThreadPoolExecutor, catalog: Catalog, series_uid: str, values: Values | None
) -> Future[Loaded]:
    try:
        volume = open_volume(catalog, series_uid, values=values)
    except (PixelError, SeriesNotFound) as error:
        return _without(series_uid, str(error))
    except Exception as error:  # noqa: BLE001 - the other series have nothing to do with it
        return _without(series_uid, f"series {series_uid} cannot be read ({type(error).__name__})")
    return pool.submit(_load, volume)


def _without(series_uid: str, why: str) -> Future[Loaded]:
    done: Future[Loaded] = Future()
    done.set_result(Loaded(series_uid, None, None, why))
    return done


def _load(volume: LazyVolume) -> Loaded:
    try:
        return Loaded(volume.series_uid, volume, volume.read(), None)
    except PixelError as error:
        return Loaded(volume.series_uid, volume, None, str(error))
    except Exception as error:  # noqa: BLE001 - the other series have nothing to do with it
        why = f"series {volume.series_uid} cannot be read ({type(error).__name__})"
        return Loaded(volume.series_uid, volume, None, why)
