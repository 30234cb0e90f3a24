"""What users hold in a notebook: ``Warehouse``, a thin front over the stations' functions."""

from __future__ import annotations

import html
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import polars as pl

from warehouse.batches import Batches
from warehouse.catalog.connect import Catalog, ask, open_catalog, table
from warehouse.catalog.contents import column_list, describe, summary_html, table_list, tags_like
from warehouse.catalog.duplicates import Compared, compare_duplicates
from warehouse.catalog.frames import checked, frames_among
from warehouse.catalog.header_rows import header_of_instance
from warehouse.cohorts import asking, compare, definitions, filters, runs
from warehouse.cohorts.export_files import FILE_FORMATS, export_files
from warehouse.cohorts.export_rows import export_rows
from warehouse.cohorts.guard import locked_catalog
from warehouse.cohorts.reruns import Rerun, rerun_all
from warehouse.cohorts.runs import Run
from warehouse.errors import UsageError
from warehouse.ingest import IngestReport, ingest
from warehouse.pixels.gallery import Gallery, open_gallery
from warehouse.pixels.gradients import Gradients, gradients
from warehouse.pixels.prefetch import Loaded, iter_volumes
from warehouse.pixels.stack import Stack, open_stack
from warehouse.pixels.values import Values
from warehouse.pixels.volume import LazyVolume, open_volume
from warehouse.removal import RemovalReport, remove
from warehouse.settings import IngestSettings, Mode, S3Access
from warehouse.store import layout
from warehouse.store.damage import failures_named, names_failures
from warehouse.store.dictionary import add_dictionary
from warehouse.store.duck import literal
from warehouse.store.rules import Rule, add_rules, read_rules
from warehouse.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import duckdb

    from warehouse.catalog.header import Header
    from warehouse.publishing import Action, Place
    from warehouse.survey import Progress

_Answer = TypeVar("_Answer")


class Warehouse(Upkeep):
    """A warehouse on disk.

    It shows the version that was newest when it was first asked, and that of its own ingests;
    ``refresh`` looks for commits of others. Any number of threads may use it at once; each answer
    is of one version.
    """

    def __init__(self, place: Place) -> None:
        self._place, self.root, self.url = place, place.root, place.url
        self._frames: dict[str, object] = {}
        self._catalog: Catalog | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"Warehouse({self.url!r})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows; without rows if nothing was ingested yet."""
        if not (self.root / layout.MARKER).exists():
            return f"<b>{html.escape(repr(self))}</b><p>nothing ingested yet</p>"
        return summary_html(self.catalog.snapshot, repr(self))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog and, of a bucket, of the folder that stands for it."""
        self._forget()
        if self._place.mirror:
            self._place.mirror.close()

    @property
    def version(self) -> int:
        """Version that is shown."""
        return self.catalog.snapshot.version

    @property
    def catalog(self) -> Catalog:
        """The open catalog: DuckDB connection, views, version."""
        with self._opening:
            if self._catalog is None:
                self._catalog = open_catalog(self.root, self._place.version)
            return self._catalog

    def refresh(self) -> None:
        """Look at the newest version at the next question."""
        if self._place.mirror:
            self._place.mirror.pull()
        self._forget()

    def _forget(self) -> None:
        """Open the newest version at the next question."""
        with self._opening:
            self._catalog = None

    def _change(self, action: Action[_Answer], *, what: str, materialize: bool = True) -> _Answer:
        """Change the warehouse (see ``Place.publish``) and show what it is then."""
        done = self._place.publish(action, what=what, materialize=lambda: materialize)
        self._forget()
        return done

    @names_failures
    def ingest(
        self, *sources: str | os.PathLike[str], mode: str = "full",
        pattern: str | Iterable[str] | None = None, workers: int | None = None,
        scheduler: str | None = None, batch_files: int | None = None, keep_blobs: bool = True,
        progress: Progress | None = None,
    ) -> IngestReport:  # fmt: skip
        """Read new and changed files; make the warehouse if it does not exist.

        Parameters
        ----------
        sources
            Files, folders, zip archives and ``s3://bucket/prefix``; opened read-only.
        mode
            Which elements become rows: full, normal or minimal.
        pattern
            Shell patterns of file names to take.
        workers, scheduler
            Processes that read, or the address of a Dask scheduler whose workers read.
        batch_files
            Most files of one transaction.
        keep_blobs
            Whether binary values over 256 bytes are stored.
        progress
            Told about every portion of files.

        Raises
        ------
        SourceNotFound, NotAWarehouse, LayoutMismatch, WriteFailed, WorkersLost
            A file that cannot be read raises nothing: it is a row of ``files`` with the reason.
        """
        patterns = (pattern,) if isinstance(pattern, str) else tuple(pattern or ())
        settings = IngestSettings(
            mode=Mode.parse(mode), patterns=patterns, workers=workers, scheduler=scheduler,
            batch_files=batch_files or IngestSettings().batch_files, keep_blobs=keep_blobs,
            s3=S3Access.from_variables(os.environ),
        )  # fmt: skip
        if not sources:
            raise UsageError("name at least one file or folder to ingest")
        if self._place.mirror:
            self._place.mirror.require_apart(sources)
        return self._change(
            lambda push: ingest(self.root, sources, settings, progress=progress, committed=push),
            what="ingest",
        )

    @property
    def batches(self) -> Batches:
        """What is planned and read one batch at a time."""
        return Batches(self._place, self._forget)

    def remove(
        self, *sources: str | os.PathLike[str], delete: bool = False, even_all: bool = False,
        settings: IngestSettings | None = None,
    ) -> RemovalReport:  # fmt: skip
        """Count known files that are no longer there; ``delete`` takes out what they held."""
        # Files that take over may lie in a bucket.
        how = settings or IngestSettings(workers=1, s3=S3Access.from_variables(os.environ))
        return self._change(
            lambda _: remove(self.root, sources, how, delete=delete, even_all=even_all),
            what="remove" if delete else "",
        )

    def info(self) -> dict[str, Any]:
        """Return version and sizes, and how many of each entity, file status and import mode.

        ``wh.info()["modes"]`` is ``{"full": 1200}`` where every element was read.
        """
        return describe(self.catalog) | {"root": self.url}

    def duplicates(self, *, limit: int | None = None) -> Iterator[Compared]:
        """Read each duplicate and its holder: a ``verdict`` but ``same`` is no true copy."""
        access = S3Access.from_variables(os.environ)
        return compare_duplicates(self.catalog, limit=limit, s3=access)

    def tables(self) -> pl.DataFrame:
        """Return name, kind, grain and description of every table and view; nothing is counted."""
        return table_list(self.catalog)

    def describe(self, name: str) -> pl.DataFrame:
        """Return column, type and meaning of every column of a table or view."""
        return column_list(self.catalog, name)

    def sql(
        self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Ask in SQL.

        Parameters
        ----------
        query
            One statement that returns rows. Besides tables and views it may name frames that were
            registered, and variables of the caller that are frames (Polars, pandas, pyarrow).
        params
            Values of ``?`` and ``$1``, or by name those of ``$name``; the query then runs at once.

        Returns
        -------
        duckdb.DuckDBPyRelation
            With ``.pl()``, ``.df()``, ``.fetchall()``, ``.to_arrow_reader()``.

        Raises
        ------
        QueryFailed
            With DuckDB's message and hint.

        Examples
        --------
        >>> wh.sql("select * from series where Modality = $m", {"m": "CT"})  # doctest: +SKIP
        """
        caller = sys._getframe(1)  # noqa: SLF001 - as DuckDB itself finds variables
        frames = frames_among(caller.f_globals, caller.f_locals)
        with failures_named(self.root):
            return ask(self.catalog, query, params, frames | self._frames)

    def register(self, name: str, frame: object) -> None:
        """Let questions of any thread name a frame of Polars, pandas or pyarrow as a table.

        Raises
        ------
        UsageError
            It is no frame, or the warehouse has a table of that name.
        """
        self._frames = self._frames | {name: checked(name, frame)}

    def unregister(self, name: str) -> None:
        """Forget a registered frame; answers that were asked before keep it."""
        self._frames = {known: frame for known, frame in self._frames.items() if known != name}

    @names_failures
    def table(self, name: str) -> pl.LazyFrame:
        """Return any table, view or registered frame as a Polars LazyFrame."""
        if name in self._frames:
            frame: pl.DataFrame = ask(self.catalog, f"from {name}", None, self._frames).pl()
            return frame.lazy()
        return table(self.catalog, name)

    @names_failures
    def attributes(self, *names: str) -> duckdb.DuckDBPyRelation:
        """Return one row per instance with a typed column per keyword or tag."""
        return self.sql(f"from attributes([{', '.join(map(literal, names))}])")

    @names_failures
    def tags(self, *, like: str = "", private: bool = False) -> duckdb.DuckDBPyRelation:
        """Return what the archive contains: elements, counts, and examples that name nobody."""
        return self.sql(tags_like(like, private=private))

    def add_dictionary(self, path: str | os.PathLike[str]) -> int:
        """Add names of private elements from a CSV or JSON file."""
        return self._change(
            lambda _: add_dictionary(self.root, Path(path)), what="dictionary", materialize=False
        )

    def rules(self) -> list[Rule]:
        """Return the rules of `sequence_types` in the order in which they are tried."""
        return read_rules(self.root)

    def add_rules(self, path: str | os.PathLike[str]) -> int:
        """Add rules of `sequence_types` from a CSV file; one of the same name is replaced."""
        return self._change(lambda _: add_rules(self.root, Path(path)), what="rules")

    @names_failures
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

    @names_failures
    def values(self, table: str, attribute: str) -> list[Any]:
        """Return the distinct values of an attribute, sorted."""
        return filters.values(self.catalog, table, attribute)

    def cohorts(self) -> dict[str, definitions.Definition]:
        """Return every cohort that can be run, by name: shipped and saved ones."""
        return definitions.definitions(self.root)

    def runs(self) -> list[Run]:
        """Return the runs of cohorts that were kept, the oldest of each cohort first."""
        return runs.runs(self.root)

    def save_cohort(self, name: str, sql: str) -> definitions.Definition:
        """Keep a SELECT over tables of the warehouse as a cohort; see docs/how-to/cohorts.md."""
        return self._change(
            lambda _: definitions.save(locked_catalog(self.root), name, sql), what="cohort save"
        )

    def find_run(self, name: str) -> Run:
        """Return a run by its name, or the latest run of a cohort of that name."""
        return runs.find_run(self.root, name)

    @names_failures
    def cohort(self, name: str, /, *, limits: asking.Limits | None = None, **given: Any) -> Run:
        """Run a cohort on the newest version; its members are kept, see ``members``."""
        return self._run(lambda: runs.run_cohort(self.root, name, given, limits or asking.Limits()))

    @names_failures
    def rerun(self, name: str) -> compare.Difference:
        """Ask the cohort of a run again, of the newest version: what has changed since."""
        return self._run(lambda: compare.rerun(self.root, name))

    @names_failures
    def rerun_all(self) -> list[Rerun]:
        """Ask every cohort that was saved or run before again, of the newest version."""
        return self._place.publish(lambda _: rerun_all(self.root), what="cohort rerun")

    @names_failures
    def combine(self, operation: str, left: str, right: str, name: str) -> Run:
        """Make a run of the members of two: ``union``, ``intersect`` or ``minus``."""
        return self._run(lambda: compare.combine(self.root, operation, left, right, name))

    @names_failures
    def split(
        self, run: str, fractions: Mapping[str, float] | None = None, seed: int = 0
    ) -> list[Run]:
        """Split a run by patient into named parts; see ``warehouse.cohorts.compare.split``."""
        return self._run(lambda: compare.split(self.root, run, fractions, seed))

    @names_failures
    def sample(self, run: str, *, as_name: str, **options: Any) -> Run:
        """Draw series of a run; see ``warehouse.cohorts.compare.sample``."""
        return self._run(lambda: compare.sample(self.root, run, as_name=as_name, **options))

    def _run(self, action: Callable[[], _Answer]) -> _Answer:
        """Keep a run; the rows of the warehouse stay as they are."""
        return self._place.publish(lambda _: action(), what="cohort run", materialize=lambda: False)

    @names_failures
    def members(self, run: Run | str) -> pl.LazyFrame:
        """Return the members of a run, or of the latest of a cohort: one row per instance."""
        found = self.find_run(run) if isinstance(run, str) else run
        return pl.scan_parquet(runs.members_file(self.root, found))

    @names_failures
    def export(
        self, run: Run | str, target: str | os.PathLike[str], form: str, **options: Any
    ) -> dict[str, Any]:
        """Write the members of a run; see ``export_rows`` and ``export_files`` of cohorts."""
        found = self.find_run(run) if isinstance(run, str) else run
        if form in FILE_FORMATS:
            s3 = S3Access.from_variables(os.environ)
            return export_files(self.root, found, Path(target), form, s3=s3, **options)
        return export_rows(self.root, found, Path(target), form, **options)

    @names_failures
    def compare(self, before: str, after: str) -> compare.Difference:
        """Return in which instances two runs differ, and why."""
        return compare.difference(self.root, before, after)

    @names_failures
    def header(self, uid: str) -> Header:
        """Return the header of a stored instance, by SOPInstanceUID or path of its file."""
        return header_of_instance(self.catalog, uid)

    @names_failures
    def volume(
        self, series_uid: str, *, rescale: bool | str = False,
        window: tuple[float, float] | str | None = None, invert: bool = False,
        color: bool = False, overlay: int | None = None, stack_id: str | None = None,
    ) -> LazyVolume:  # fmt: skip
        """Return a series as a lazy array (slice, row, column); voxels are read when sliced.

        ``affine`` maps an index to mm in LPS; see ``warehouse.pixels.volume.LazyVolume``, and
        ``warehouse.pixels.values.Values`` for what the options do to values and dtype.
        """
        values = Values(rescale, window, invert, color, overlay)
        return open_volume(self.catalog, series_uid, values=values, stack_id=stack_id)

    @names_failures
    def gradients(self, series_uid: str, *, isotropic: bool = False) -> Gradients:
        """Return b-values and directions that fit the NIfTI of ``volume``; see ``Gradients``."""
        return gradients(self.catalog, self.volume(series_uid), isotropic=isotropic)

    @names_failures
    def gallery(self, *series_uids: str, limit: int = 24) -> Gallery:
        """Return series with a thumbnail each, which a notebook shows as a table."""
        return open_gallery(self.catalog, series_uids, limit=limit)

    @names_failures
    def iter_volumes(
        self, cohort: Run | str | Iterable[str], *, ahead: int = 1,
        rescale: bool | str = False,
    ) -> Iterator[Loaded]:  # fmt: skip
        """Yield the series of a cohort with their voxels, the next ones read meanwhile.

        ``cohort`` is a run, the name of one, or SeriesInstanceUIDs; see
        ``warehouse.pixels.prefetch.iter_volumes``.
        """
        if isinstance(cohort, str | Run):
            cohort = runs.series_keys(self.members(cohort))
        return iter_volumes(self.catalog, cohort, ahead=ahead, values=Values(rescale=rescale))

    @names_failures
    def stack(
        self, series_uid: str, *, rescale: bool | str = False, overlay: int | None = None
    ) -> Stack:  # fmt: skip
        """Return the frames of any series, lazily, as stored; see ``warehouse.pixels.stack``."""
        values = Values(rescale=rescale, overlay=overlay)
        return open_stack(self.catalog, series_uid, values=values)
