"""``Warehouse``: the public interface, a thin facade over the functions of the packages."""

from __future__ import annotations

import html
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from warehouse import arrays
from warehouse.catalog.connect import Catalog, ask, open_catalog, table
from warehouse.catalog.contents import column_list, describe, summary_html, table_list, tags_like
from warehouse.catalog.frames import checked, frames_among
from warehouse.cohorts import facade as selections
from warehouse.cohorts.query import element_tag
from warehouse.cohorts.runs import find_run
from warehouse.derived import facade as derived
from warehouse.dicom.sources import day_folders
from warehouse.errors import UsageError
from warehouse.given import checks_arguments
from warehouse.publishing import Location
from warehouse.sets import Sets
from warehouse.settings import IngestSettings, Limits, Mode
from warehouse.store import layout
from warehouse.store.damage import failures_named, names_failures
from warehouse.store.dictionary import add_dictionary
from warehouse.store.duck import literal
from warehouse.store.vacuum import RETENTION, Vacuumed

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    import duckdb
    import polars as pl

    from warehouse.algorithms.facade import Algorithms
    from warehouse.algorithms.runs import Report
    from warehouse.batches import Batches
    from warehouse.cohorts.runs import Run
    from warehouse.components.facade import Components
    from warehouse.components.sockets import Socket
    from warehouse.components.values import Added
    from warehouse.deidentify.facade import Deidentified
    from warehouse.ingest_report import IngestReport
    from warehouse.rebuild import Rebuilt
    from warehouse.removal import RemovalReport
    from warehouse.store.compact import Compacted
    from warehouse.store.verify import Verified
    from warehouse.survey import Progress
    from warehouse.upkeep import Upkeep


@checks_arguments
class Warehouse:
    """An open warehouse, as returned by ``warehouse.open``.

    The first query opens the newest version, and later queries read the same version. After a
    change made through this object, or after ``refresh``, the next query opens the newest version,
    including commits of other processes. Any number of threads may use the object; each query sees
    one version.
    """

    def __init__(self, place: Location) -> None:
        self._place, self.root, self.url = place, place.root, place.url
        self._frames: dict[str, object] = {}
        self._catalog: Catalog | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"Warehouse({self.url!r})"

    def _repr_html_(self) -> str:
        """Return version and row counts as HTML, for notebooks."""
        if not (self.root / layout.MARKER).exists():
            return f"<b>{html.escape(repr(self))}</b><p>nothing ingested yet</p>"
        return summary_html(self.catalog.snapshot, repr(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the location and version only; the unpickled object opens its own catalog."""
        if self._place.mirror:
            raise UsageError("a warehouse in a bucket cannot be sent to a process; open it there")
        again = Location(self.root, version=self._place.version)
        return type(self), (again,), {"_frames": self._frames}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the catalog; for a warehouse in a bucket, also release the mirror folder."""
        self._forget()
        if self._place.mirror:
            self._place.mirror.close()

    @property
    def version(self) -> int:
        """Version that queries see."""
        return self.catalog.snapshot.version

    @property
    def catalog(self) -> Catalog:
        """Open catalog, with its DuckDB connection, views and version."""
        with self._opening:
            if self._catalog is None:
                self._catalog = open_catalog(self.root, self._place.version)
            return self._catalog

    def refresh(self) -> None:
        """Make the next query see the newest version."""
        if self._place.mirror:
            self._place.mirror.pull()
        self._forget()

    def _forget(self) -> None:
        """Discard the catalog, so that the next query opens the newest version."""
        with self._opening:
            self._catalog = None

    @property
    def place(self) -> Location:
        """Location of the warehouse; the next query sees changes made through it."""
        return replace(self._place, changed=self._forget)

    @names_failures
    def ingest(
        self, *sources: str | os.PathLike[str], mode: str = "full",
        pattern: str | Iterable[str] | None = None, workers: int | None = None,
        scheduler: str | None = None, batch_files: int | None = None, keep_blobs: bool = True,
        today: bool = False, progress: Progress | None = None, limits: Limits | None = None,
    ) -> IngestReport:  # fmt: skip
        """Read new and changed files; create the warehouse if it does not exist.

        Parameters
        ----------
        sources
            Files, folders, zip archives and ``s3://bucket/prefix``; opened read-only.
        mode
            Which elements are stored: full, normal or minimal.
        pattern
            Shell patterns; only files whose name matches one are read. Case is ignored.
        workers
            Number of processes that read files; by default one per processor.
        scheduler
            Address of a Dask scheduler; its workers read the files instead of local processes.
        batch_files
            Largest number of files in one transaction, 20,000 by default.
        keep_blobs
            Store binary values over 256 bytes; otherwise only their length and digest.
        today
            Read only today's subfolder (YYYY/MM/DD) of each source.
        progress
            Called as files are listed, read and committed.
        limits
            Limits per file; by default those in ``$DICOM_WAREHOUSE_LIMITS``.

        Returns
        -------
        IngestReport

        Raises
        ------
        SourceNotFound, NotAWarehouse, LayoutMismatch, WriteFailed, WorkersLost
            An unreadable file raises no error: its row in ``files`` has the reason.
        """
        from warehouse.ingest import ingest

        patterns = (pattern,) if isinstance(pattern, str) else () if pattern is None else pattern
        settings = IngestSettings.from_variables(
            os.environ, mode=Mode.parse(mode), patterns=tuple(patterns), workers=workers,
            scheduler=scheduler, keep_blobs=keep_blobs,
            **({} if batch_files is None else {"batch_files": batch_files}),
            **({"limits": limits} if limits else {}),
        )  # fmt: skip
        if not sources:
            raise UsageError("name at least one file or folder to ingest")
        if self._place.mirror:
            self._place.mirror.require_apart(sources)
        chosen = day_folders(sources) if today else sources
        return self.place.change(
            lambda push: ingest(self.root, chosen, settings, progress=progress, committed=push),
            what="ingest",
        )

    @property
    def batches(self) -> Batches:
        """Plan batches, and read them one at a time in separate processes."""
        from warehouse.batches import Batches

        return Batches(self.place)

    def remove(
        self, *sources: str | os.PathLike[str], delete: bool = False, even_all: bool = False,
        settings: IngestSettings | None = None,
    ) -> RemovalReport:  # fmt: skip
        """Count known files that no longer exist; with ``delete`` remove them from the warehouse.

        Parameters
        ----------
        sources
            Folders, archives, files and ``s3://bucket/prefix`` to check.
        delete, even_all, settings
            See ``warehouse.removal.remove``.

        Returns
        -------
        RemovalReport

        Raises
        ------
        SourceNotFound, SourcesVanished, BucketUnreachable, WriteFailed
        """
        from warehouse.removal import remove

        # For a duplicate that becomes the stored copy of an instance.
        how = settings or IngestSettings.from_variables(os.environ, workers=1)
        return self.place.change(
            lambda _: remove(self.root, sources, how, delete=delete, even_all=even_all),
            what="remove" if delete else "", materialize=delete,
        )  # fmt: skip

    @property
    def upkeep(self) -> Upkeep:
        """Maintenance operations, such as verify, repair, relocate, forget and audit."""
        from warehouse.upkeep import Upkeep

        return Upkeep(self.place)

    def rebuild(self, *, from_sources: bool = False) -> Rebuilt:
        """Derive ``instances`` again from the stored elements, or read every source file again."""
        return self.upkeep.rebuild(from_sources=from_sources)

    def compact(self) -> Compacted:
        """Merge the Parquet files of many small ingests; no row changes."""
        return self.upkeep.compact()

    def vacuum(self, retention: dt.timedelta = RETENTION, *, delete: bool = False) -> Vacuumed:
        """Count Parquet files that no recent version needs; with ``delete`` delete them."""
        return self.upkeep.vacuum(retention, delete=delete)

    def verify(self, *, deep: bool = False) -> Verified:
        """Check that the store has everything that was committed; see ``Upkeep.verify``."""
        return self.upkeep.verify(deep=deep)

    @names_failures
    def info(self) -> dict[str, Any]:
        """Return the version, sizes, and counts by entity, file status and import mode."""
        return describe(self.catalog) | {"root": self.url}

    def tables(self) -> pl.DataFrame:
        """Return name, kind, grain and description of every table and view; count no rows."""
        return table_list(self.catalog)

    def describe(self, name: str) -> pl.DataFrame:
        """Return column, type and meaning of every column of a table or view."""
        return column_list(self.catalog, name)

    def sql(
        self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Run a query in DuckDB's SQL.

        Parameters
        ----------
        query
            One statement that returns rows. Besides tables and views it may name registered frames
            and variables of the caller that hold a frame (Polars, pandas, pyarrow).
        params
            A sequence for ``?`` and ``$1``, a mapping for ``$name``. With parameters the query runs
            immediately, otherwise when rows are fetched.

        Returns
        -------
        duckdb.DuckDBPyRelation
            With ``.pl()``, ``.df()``, ``.fetchall()``, ``.to_arrow_reader()``.

        Raises
        ------
        QueryFailed
            With DuckDB's message and hint. An error in a single value, such as text that is not a
            number, occurs when rows are fetched and is raised as ``duckdb.Error``.

        Examples
        --------
        >>> wh.sql("select count(*) from series where Modality = $m", {"m": "CT"}).fetchall()
        [(1,)]
        """
        caller = sys._getframe(1)  # noqa: SLF001 - as DuckDB itself finds variables
        frames = frames_among(caller.f_globals, caller.f_locals)
        with failures_named(self.root):
            return ask(self.catalog, query, params, frames | self._frames)

    def register(self, name: str, frame: object) -> None:
        """Register a frame (Polars, pandas, pyarrow) as a table for queries in all threads."""
        self._frames = self._frames | {name: checked(name, frame)}

    def unregister(self, name: str) -> None:
        """Undo ``register``; existing relations keep the frame."""
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
        """Return one row per instance, with a typed column per keyword or tag (eight hex digits).

        Examples
        --------
        >>> wh.attributes("Rows", "00280011").fetchall()[0][-2:]
        (128, 128)
        """
        asked = ", ".join(literal(element_tag(name) or name) for name in names)
        return self.sql(f"from attributes([{asked or literal('')}])")

    @names_failures
    def tags(self, *, like: str = "", private: bool = False) -> duckdb.DuckDBPyRelation:
        """Return the elements that occur, with counts and non-identifying example values.

        Parameters
        ----------
        like
            Text that the tag, name or private creator contains; case is ignored.
        private
            Only private elements.
        """
        return self.sql(tags_like(like, private=private))

    def add_dictionary(self, path: str | os.PathLike[str]) -> int:
        """Add names of private elements from a CSV or JSON file; return their number."""
        return self.place.change(
            lambda _: add_dictionary(self.root, Path(path)), what="dictionary", materialize=False
        )

    # Selections and cohorts: functions of ``warehouse.cohorts.facade``.
    select = selections.select
    values = selections.values
    cohorts = selections.cohorts
    runs = selections.runs
    save_cohort = selections.save_cohort
    find_run = selections.find_run
    cohort = selections.cohort
    rerun = selections.rerun
    rerun_all = selections.rerun_all
    members = selections.members
    compare = selections.difference

    @property
    def deidentified(self) -> Deidentified:
        """De-identified tables, and checks of de-identified exports."""
        from warehouse.deidentify.facade import Deidentified

        return Deidentified(self.root)

    @property
    def sets(self) -> Sets:
        """Combine, split and sample runs."""
        return Sets(self._place)

    @names_failures
    def export(
        self, run: Run | str, target: str | os.PathLike[str], form: str = "", **options: Any
    ) -> dict[str, Any]:
        """Write the members of a run to a file or folder.

        Parameters
        ----------
        run
            A run, the name of a run, or the name of a cohort (its latest run).
        target, form, options
            See ``warehouse.exporting.export_run``.

        Returns
        -------
        dict
            The provenance, which is also written beside the target.
        """
        from warehouse.exporting import export_run

        return export_run(self.root, find_run(self.root, run), target, form, **options)

    # Headers and pixels of source files: functions of ``warehouse.arrays``.
    blob = arrays.blob
    header = arrays.header
    volume = arrays.volume
    stack = arrays.stack
    gradients = arrays.gradients
    gallery = arrays.gallery
    iter_volumes = arrays.iter_volumes
    duplicates = arrays.duplicates

    # Derived objects: functions of ``warehouse.derived.facade``.
    segmentation = derived.segmentation
    measure_segments = derived.measure_segments
    structures = derived.structures
    dose_volume = derived.dose_volume
    waveform = derived.waveform

    @property
    def components(self) -> Components:
        """Sockets, values, annotations and sets of values."""
        from warehouse.components.facade import Components

        return Components(self.place)

    @property
    def sockets(self) -> dict[str, Socket]:
        """The newest version of every socket by slug."""
        return self.components.sockets()

    def add_value(self, slug: str, *value: Any, **given: Any) -> Added:
        """Add a value to a socket; see ``Components.add_value``."""
        return self.components.add_value(slug, *value, **given)

    @property
    def algorithms(self) -> Algorithms:
        """Algorithms, their images and models, and their jobs."""
        from warehouse.algorithms.facade import Algorithms

        return Algorithms(self.place)

    def run_algorithm(
        self, name: str, cohort: str | Run | Iterable[str] | None = None, **options: Any
    ) -> Report:
        """Run an algorithm over a cohort or series; see ``Algorithms.run``."""
        return self.algorithms.run(name, cohort, **options)

    @names_failures
    def outputs(self, algorithm: str) -> pl.LazyFrame:
        """Return the outputs of an algorithm: one row per case, a typed column per output.

        Raises
        ------
        UnknownAlgorithm
        """
        name = self.algorithms.find(algorithm).algorithm
        found: pl.DataFrame = self.catalog.session().sql(f"from outputs({literal(name)})").pl()
        return found.lazy()
