"""What users hold in a notebook: ``Warehouse``, a thin front over the stations' functions."""

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
from warehouse.cohorts import asking, compare, definitions, filters, runs
from warehouse.cohorts.guard import locked_catalog
from warehouse.cohorts.query import element_tag
from warehouse.cohorts.reruns import Rerun, rerun_all
from warehouse.derived import facade as derived
from warehouse.dicom.sources import day_folders
from warehouse.errors import UsageError
from warehouse.given import checks_arguments
from warehouse.publishing import Place
from warehouse.sets import Sets
from warehouse.settings import IngestSettings, Limits, Mode, S3Access
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open the same warehouse; its catalog cannot be sent."""
        if self._place.mirror:
            raise UsageError("a warehouse in a bucket is not sent to a process: open it in there")
        again = Place(self.root, version=self._place.version)
        return type(self), (again,), {"_frames": self._frames}

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
        """Open catalog, with its DuckDB connection, views and version."""
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

    @property
    def place(self) -> Place:
        """Where it is, and what changes it: what it is then, the next question shows."""
        return replace(self._place, changed=self._forget)

    @names_failures
    def ingest(
        self, *sources: str | os.PathLike[str], mode: str = "full",
        pattern: str | Iterable[str] | None = None, workers: int | None = None,
        scheduler: str | None = None, batch_files: int | None = None, keep_blobs: bool = True,
        today: bool = False, progress: Progress | None = None, limits: Limits | None = None,
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
            Processes that read, or the address of a Dask scheduler whose workers do.
        batch_files, keep_blobs
            Most files of one transaction; whether binary values over 256 bytes are stored.
        today
            Take only the subfolder YYYY/MM/DD of today of each source.
        progress, limits
            Told about every portion; what one file may cost, else ``$DICOM_WAREHOUSE_LIMITS``.

        Raises
        ------
        SourceNotFound, NotAWarehouse, LayoutMismatch, WriteFailed, WorkersLost
            A file that cannot be read raises nothing: it is a row of ``files`` with the reason.
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
        """What is planned and read one batch at a time."""
        from warehouse.batches import Batches

        return Batches(self.place)

    def remove(
        self, *sources: str | os.PathLike[str], delete: bool = False, even_all: bool = False,
        settings: IngestSettings | None = None,
    ) -> RemovalReport:  # fmt: skip
        """Count known files that are no longer there; ``delete`` takes out what they held."""
        from warehouse.removal import remove

        # Files that take over may lie in a bucket.
        how = settings or IngestSettings(workers=1, s3=S3Access.from_variables(os.environ))
        return self.place.change(
            lambda _: remove(self.root, sources, how, delete=delete, even_all=even_all),
            what="remove" if delete else "",
        )

    @property
    def upkeep(self) -> Upkeep:
        """What keeps the warehouse in order, checks it, and says who changed it."""
        from warehouse.upkeep import Upkeep

        return Upkeep(self.place)

    def rebuild(self, *, from_sources: bool = False) -> Rebuilt:
        """Derive ``instances`` again from stored elements, or read every source file again."""
        return self.upkeep.rebuild(from_sources=from_sources)

    def compact(self) -> Compacted:
        """Merge the Parquet files of many small ingests; rows and their order stay."""
        return self.upkeep.compact()

    def vacuum(self, retention: dt.timedelta = RETENTION, *, delete: bool = False) -> Vacuumed:
        """Count Parquet files that no version of the last days names; ``delete`` removes them."""
        return self.upkeep.vacuum(retention, delete=delete)

    def verify(self, *, deep: bool = False) -> Verified:
        """Compare the store with what was committed; see ``Upkeep.verify``."""
        return self.upkeep.verify(deep=deep)

    @names_failures
    def info(self) -> dict[str, Any]:
        """Return version and sizes, and how many of each entity, file status and import mode."""
        return describe(self.catalog) | {"root": self.url}

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
            With DuckDB's message and hint. A value that cannot be computed, as text that is no
            number, is met when rows are fetched, and is then an error of DuckDB's own
            (``duckdb.Error``): the answer is DuckDB's relation, with all that it can do.

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
        """Let questions of any thread name a frame of Polars, pandas or pyarrow as a table."""
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
        asked = ", ".join(literal(element_tag(name) or name) for name in names)
        return self.sql(f"from attributes([{asked or literal('')}])")

    @names_failures
    def tags(self, *, like: str = "", private: bool = False) -> duckdb.DuckDBPyRelation:
        """Return what the archive contains: elements, counts, and examples that name nobody."""
        return self.sql(tags_like(like, private=private))

    def add_dictionary(self, path: str | os.PathLike[str]) -> int:
        """Add names of private elements from a CSV or JSON file."""
        return self.place.change(
            lambda _: add_dictionary(self.root, Path(path)), what="dictionary", materialize=False
        )

    @names_failures
    def select(
        self, table: str = "series", conditions: Mapping[str, Any] | None = None, *,
        search: str | None = None, order: str | Iterable[str] = (),
        limit: int | None = None, offset: int = 0, columns: str | Iterable[str] = (), **more: Any,
    ) -> duckdb.DuckDBPyRelation:  # fmt: skip
        """Return the rows for which every condition holds: ``Modality="MR", EchoTime__max=30``.

        Conditions that are no Python names stand in the mapping, as ``{"-(0018,0095)__min": 100}``;
        see ``warehouse.cohorts.filters.select``.
        """
        asked = {**(conditions or {}), **more}
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
        return self.place.change(
            lambda _: definitions.save(locked_catalog(self.root), name, sql), what="cohort save"
        )

    def find_run(self, name: Run | str) -> Run:
        """Return a run by its name, or the latest run of a cohort of that name."""
        return runs.find_run(self.root, name)

    @names_failures
    def cohort(self, name: str, /, *, limits: asking.Limits | None = None, **given: Any) -> Run:
        """Run a cohort on the newest version; its members are kept, see ``members``."""
        return self._place.keep(
            lambda: runs.run_cohort(self.root, name, given, limits or asking.Limits()),
            "cohort run",
        )

    @names_failures
    def rerun(self, name: Run | str) -> compare.Difference:
        """Ask the cohort of a run again, of the newest version: what has changed since."""
        return self._place.keep(lambda: compare.rerun(self.root, name), "cohort rerun")

    @names_failures
    def rerun_all(self) -> list[Rerun]:
        """Ask every cohort that was saved or run before again, of the newest version."""
        return self._place.publish(lambda _: rerun_all(self.root), what="cohort rerun")

    @property
    def deidentified(self) -> Deidentified:
        """Tables without identity, and the search of an export for what should not be in it."""
        from warehouse.deidentify.facade import Deidentified

        return Deidentified(self.root)

    @property
    def sets(self) -> Sets:
        """Runs that are made of the members of other runs."""
        return Sets(self._place)

    @names_failures
    def members(self, run: Run | str) -> pl.LazyFrame:
        """Return the members of a run, or of the latest of a cohort: one row per instance."""
        return runs.members(self.root, run)

    @names_failures
    def export(
        self, run: Run | str, target: str | os.PathLike[str], form: str, **options: Any
    ) -> dict[str, Any]:
        """Write the members of a run; see ``warehouse.exporting.export_run``."""
        from warehouse.exporting import export_run

        return export_run(self.root, runs.find_run(self.root, run), target, form, **options)

    @names_failures
    def compare(self, before: Run | str, after: Run | str) -> compare.Difference:
        """Return in which instances two runs differ, and why."""
        return compare.difference(self.root, before, after)

    # What files say: functions of ``warehouse.arrays``.
    blob = arrays.blob
    header = arrays.header
    volume = arrays.volume
    stack = arrays.stack
    gradients = arrays.gradients
    gallery = arrays.gallery
    iter_volumes = arrays.iter_volumes
    duplicates = arrays.duplicates

    # What derived objects say: functions of ``warehouse.derived.facade``.
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
        """Return what an algorithm found: one row per case, a typed column per output.

        Raises
        ------
        UnknownAlgorithm
        """
        name = self.algorithms.find(algorithm).algorithm
        found: pl.DataFrame = self.catalog.session().sql(f"from outputs({literal(name)})").pl()
        return found.lazy()
