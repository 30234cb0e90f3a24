"""What users hold in a notebook: ``Warehouse``, a thin front over the stations' functions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from warehouse.catalog.connect import Catalog, ask, open_catalog, table
from warehouse.catalog.header_rows import header_of_file, header_of_instance
from warehouse.catalog.kept import keep_if_worthwhile
from warehouse.cohorts import compare, filters, runs
from warehouse.cohorts.export_files import FILE_FORMATS, export_files
from warehouse.cohorts.export_rows import export_rows
from warehouse.dicom.objects import is_object
from warehouse.errors import UsageError
from warehouse.ingest import IngestReport, ingest
from warehouse.pixels.gallery import Gallery, open_gallery
from warehouse.pixels.prefetch import Loaded, iter_volumes
from warehouse.pixels.stack import Stack, open_stack
from warehouse.pixels.values import Values
from warehouse.pixels.volume import LazyVolume, open_volume
from warehouse.settings import IngestSettings, Mode, S3Access
from warehouse.store.dictionary import add_dictionary
from warehouse.store.duck import literal
from warehouse.store.mirror import Mirror, open_mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import duckdb

    from warehouse.catalog.header import Header
    from warehouse.survey import Progress

_Answer = TypeVar("_Answer")


class Warehouse:
    """A warehouse on disk.

    It shows the version that was newest when it was first asked, and that of its own ingests;
    ``refresh`` looks for commits of others.
    """

    def __init__(self, root: Path, mirror: Mirror | None = None) -> None:
        self.root = root
        self._mirror = mirror
        self._catalog: Catalog | None = None

    def __repr__(self) -> str:
        return f"Warehouse({self._mirror.url if self._mirror else str(self.root)!r})"

    @property
    def catalog(self) -> Catalog:
        """The open catalog: DuckDB connection, views, version."""
        if self._catalog is None:
            self._catalog = open_catalog(self.root)
        return self._catalog

    def refresh(self) -> None:
        """Look at the newest version at the next question."""
        if self._mirror:
            self._mirror.pull()
        self._catalog = None

    def _published(self, action: Callable[[Callable[[], None] | None], _Answer]) -> _Answer:
        """Do something to the folder; publish it if it stands for a bucket."""
        if self._mirror is None:
            return action(None)
        self._mirror.pull()
        push = self._mirror.push
        return self._mirror.work(lambda: action(push))

    def ingest(
        self, *sources: str | os.PathLike[str], mode: str = "normal", pattern: str | None = None,
        workers: int | None = None, keep_blobs: bool = True, progress: Progress | None = None,
    ) -> IngestReport:  # fmt: skip
        """Read new and changed files; see ``warehouse.ingest.ingest``."""
        settings = IngestSettings(
            mode=Mode.parse(mode), patterns=(pattern,) if pattern else (), workers=workers,
            keep_blobs=keep_blobs, s3=S3Access.from_variables(os.environ),
        )  # fmt: skip
        if not sources:
            raise UsageError("name at least one file or folder to ingest")
        if self._mirror:
            self._mirror.require_apart(sources)
        report = self._published(
            lambda push: ingest(self.root, sources, settings, progress=progress, committed=push)
        )
        keep_if_worthwhile(self.root)
        self.refresh()
        return report

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """Ask in SQL; a DuckDB relation with ``.pl()``, ``.df()``, ``.fetchall()``."""
        return ask(self.catalog, query)

    def table(self, name: str) -> pl.LazyFrame:
        """Return any table or view as a Polars LazyFrame."""
        return table(self.catalog, name)

    def attributes(self, *names: str) -> duckdb.DuckDBPyRelation:
        """Return one row per instance with a typed column per keyword or tag."""
        listed = ", ".join(literal(name) for name in names)
        return self.sql(f"from attributes([{listed}])")

    def tags(self, *, like: str = "", private: bool = False) -> duckdb.DuckDBPyRelation:
        """Return what the archive contains: elements, counts, and examples that name nobody."""
        wanted = f"contains(lower(concat_ws(' ', tag, name, creator)), lower({literal(like)}))"
        wanted += " and is_private" if private else ""
        return self.sql(f"select * exclude is_private from tags where {wanted} order by all")

    def add_dictionary(self, path: str | os.PathLike[str]) -> int:
        """Add names of private elements from a CSV or JSON file."""
        count = self._published(lambda _: add_dictionary(self.root, Path(path)))
        self.refresh()
        return count

    def select(
        self, table: str = "series", conditions: dict[str, Any] | None = None, *,
        search: str | None = None, order: str | Iterable[str] = (),
        limit: int | None = None, offset: int = 0, columns: Iterable[str] = (), **more: Any,
    ) -> duckdb.DuckDBPyRelation:  # fmt: skip
        """Return the rows for which every condition holds: ``Modality="MR", EchoTime__max=30``.

        Conditions that are no Python names stand in the mapping, as ``{"-(0018,0095)__min": 100}``;
        see ``warehouse.cohorts.filters.select``.
        """
        asked = (conditions or {}) | more
        return filters.select(
            self.catalog, table, asked, search=search, order=order, limit=limit, offset=offset,
            columns=columns,
        )  # fmt: skip

    def values(self, table: str, attribute: str) -> list[Any]:
        """Return the distinct values of an attribute, sorted."""
        return filters.values(self.catalog, table, attribute)

    def cohort(self, name: str, **parameters: Any) -> runs.Run:
        """Run a cohort on the newest version; its members are kept, see ``members``."""
        return self._published(lambda _: runs.run_cohort(self.root, name, parameters))

    def members(self, run: runs.Run | str) -> pl.LazyFrame:
        """Return the members of a run, or of the latest of a cohort: one row per instance."""
        found = runs.find_run(self.root, run) if isinstance(run, str) else run
        return pl.scan_parquet(runs.members_file(self.root, found))

    def export(
        self, run: runs.Run | str, target: str | os.PathLike[str], form: str, **options: Any
    ) -> dict[str, Any]:
        """Write the members of a run; see ``export_rows`` and ``export_files`` of cohorts."""
        found = runs.find_run(self.root, run) if isinstance(run, str) else run
        if form in FILE_FORMATS:
            return export_files(self.root, found, Path(target), form, **options)
        return export_rows(self.root, found, Path(target), form, **options)

    def compare(self, before: str, after: str) -> compare.Difference:
        """Return in which instances two runs differ, and why."""
        return compare.difference(self.root, before, after)

    def header(self, uid: str) -> Header:
        """Return the header of a stored instance, by SOPInstanceUID or path of its file."""
        return header_of_instance(self.catalog, uid)

    def volume(
        self, series_uid: str, *, rescale: bool = False,
        window: tuple[float, float] | str | None = None, invert: bool = False,
        colour: bool = False, overlay: int | None = None, stack: str | None = None,
    ) -> LazyVolume:  # fmt: skip
        """Return a series as a lazy array (slice, row, column); voxels are read when sliced.

        ``affine`` maps an index to mm in LPS; see ``warehouse.pixels.volume.LazyVolume``, and
        ``warehouse.pixels.values.Values`` for what the options do to values and dtype.
        """
        values = Values(rescale, window, invert, colour, overlay)
        return open_volume(self.catalog, series_uid, values=values, stack=stack)

    def gallery(self, *series_uids: str, limit: int = 24) -> Gallery:
        """Return series with a thumbnail each, which a notebook shows as a table."""
        return open_gallery(self.catalog, series_uids, limit=limit)

    def iter_volumes(
        self, cohort: runs.Run | str | Iterable[str], *, ahead: int = 1, rescale: bool = False
    ) -> Iterator[Loaded]:
        """Yield the series of a cohort with their voxels, the next ones read meanwhile.

        ``cohort`` is a run, the name of one, or SeriesInstanceUIDs; see
        ``warehouse.pixels.prefetch.iter_volumes``.
        """
        if isinstance(cohort, str | runs.Run):
            keys = self.members(cohort).select("series_key").unique(maintain_order=True).collect()
            cohort = [key for key in keys["series_key"] if key is not None]
        return iter_volumes(self.catalog, cohort, ahead=ahead, values=Values(rescale=rescale))

    def stack(
        self, series_uid: str, *, rescale: bool = False, overlay: int | None = None
    ) -> Stack:  # fmt: skip
        """Return the frames of any series, lazily, as stored; see ``warehouse.pixels.stack``."""
        values = Values(rescale=rescale, overlay=overlay)
        return open_stack(self.catalog, series_uid, values=values)


def header(path: str | os.PathLike[str]) -> Header:
    """Return the header of a DICOM file that need not be in any warehouse."""
    return header_of_file(path)


def open(root: str | os.PathLike[str]) -> Warehouse:  # noqa: A001 - warehouse.open reads as it is
    """Open a warehouse; a folder that does not exist yet is made by the first ingest.

    ``s3://bucket/prefix`` is worked with in a folder of this machine, see
    ``warehouse.store.mirror``; keys are taken from the environment.
    """
    if is_object(root):
        mirror = open_mirror(str(root), S3Access.from_variables(os.environ))
        return Warehouse(mirror.root, mirror)
    return Warehouse(Path(os.path.abspath(root)))
