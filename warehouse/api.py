"""What users hold in a notebook: ``Warehouse``, a thin front over the stations' functions."""

from __future__ import annotations

import html
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import polars as pl

from warehouse.catalog.connect import Catalog, ask, open_catalog, table
from warehouse.catalog.contents import describe
from warehouse.catalog.duplicates import Compared, compare_duplicates
from warehouse.catalog.frames import checked, frames_among
from warehouse.catalog.header_rows import header_of_file, header_of_instance
from warehouse.catalog.kept import keep_if_worthwhile
from warehouse.cohorts import compare, definitions, filters, runs
from warehouse.cohorts.export_files import FILE_FORMATS, export_files
from warehouse.cohorts.export_rows import export_rows
from warehouse.cohorts.guard import locked_catalog
from warehouse.cohorts.runs import Run
from warehouse.components.facade import WithComponents
from warehouse.dicom.objects import is_object
from warehouse.errors import NotAWarehouse, StoreError, UsageError
from warehouse.ingest import IngestReport, ingest
from warehouse.pixels.gallery import Gallery, open_gallery
from warehouse.pixels.gradients import Gradients, gradients
from warehouse.pixels.prefetch import Loaded, iter_volumes
from warehouse.pixels.stack import Stack, open_stack
from warehouse.pixels.values import Values
from warehouse.pixels.volume import LazyVolume, open_volume
from warehouse.rebuild import Rebuilt, read_anew, rebuild
from warehouse.removal import RemovalReport, remove
from warehouse.settings import IngestSettings, Mode, S3Access
from warehouse.store import layout
from warehouse.store.compact import Compacted, compact
from warehouse.store.damage import failures_named, names_failures
from warehouse.store.dictionary import add_dictionary
from warehouse.store.duck import literal
from warehouse.store.marker import require
from warehouse.store.mirror import Mirror, open_mirror
from warehouse.store.report import describe_store
from warehouse.store.vacuum import RETENTION, Vacuumed, vacuum

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import duckdb

    from warehouse.catalog.header import Header
    from warehouse.survey import Progress

_Answer = TypeVar("_Answer")
_ASK_TO_CREATE = "warehouse.open(..., create=True) lets the first ingest make it"


class Warehouse(WithComponents):
    """A warehouse on disk.

    It shows the version that was newest when it was first asked, and that of its own ingests;
    ``refresh`` looks for commits of others. Any number of threads may use it at once; each answer
    is of one version.
    """

    def __init__(
        self, root: Path, mirror: Mirror | None = None, version: int | None = None
    ) -> None:
        self.root = root
        self._mirror = mirror
        self._version = version
        self._frames: dict[str, object] = {}
        self._catalog: Catalog | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"Warehouse({self._mirror.url if self._mirror else str(self.root)!r})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows; without rows if nothing was ingested yet."""
        about = f"<b>{html.escape(repr(self))}</b>"
        if not (self.root / layout.MARKER).exists():
            return f"{about}<p>nothing ingested yet</p>"
        facts = describe_store(self.catalog.snapshot)
        rows = "".join(f"<tr><td>{t.name}</td><td>{t.rows:,}</td></tr>" for t in facts.tables)
        return f"{about}<p>version {facts.version}</p><table>{rows}</table>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the catalog and, of a bucket, of the folder that stands for it."""
        with self._opening:
            self._catalog = None
        if self._mirror:
            self._mirror.close()

    @property
    def version(self) -> int:
        """Version that is shown."""
        return self.catalog.snapshot.version

    @property
    def catalog(self) -> Catalog:
        """The open catalog: DuckDB connection, views, version."""
        with self._opening:
            if self._catalog is None:
                self._catalog = open_catalog(self.root, self._version)
            return self._catalog

    def refresh(self) -> None:
        """Look at the newest version at the next question."""
        if self._mirror:
            self._mirror.pull()
        with self._opening:
            self._catalog = None

    def _published(self, action: Callable[[Callable[[], None] | None], _Answer]) -> _Answer:
        """Do something to the folder; publish it if it stands for a bucket."""
        if self._version is not None:
            raise UsageError("this is an older version, which cannot change; open the newest one")
        if self._mirror is None:
            return action(None)
        self._mirror.pull()
        push = self._mirror.push
        return self._mirror.work(lambda: action(push))

    @names_failures
    def ingest(
        self, *sources: str | os.PathLike[str], mode: str = "full", pattern: str | None = None,
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

    def _changed(self, action: Callable[[], _Answer], *, keep: bool = True) -> _Answer:
        """Do something to the folder, and let what is kept and what is shown follow."""
        done = self._published(lambda _: action())
        if keep:
            keep_if_worthwhile(self.root)
        self.refresh()
        return done

    def remove(
        self, *sources: str | os.PathLike[str], delete: bool = False, even_all: bool = False
    ) -> RemovalReport:
        """Count known files that are no longer there; ``delete`` takes out what they held."""
        settings = IngestSettings(workers=1, s3=S3Access.from_variables(os.environ))
        return self._changed(
            lambda: remove(self.root, sources, settings, delete=delete, even_all=even_all)
        )

    def rebuild(self, *, from_sources: bool = False) -> Rebuilt:
        """Derive ``instances`` again from stored elements, or read every source file again."""
        return self._changed(lambda: (read_anew if from_sources else rebuild)(self.root))

    def compact(self) -> Compacted:
        """Merge the Parquet files of many small ingests; rows and their order stay."""
        return self._changed(lambda: compact(self.root))

    def vacuum(self, retention: dt.timedelta = RETENTION, *, delete: bool = False) -> Vacuumed:
        """Count Parquet files that no version of the last days names; ``delete`` removes them."""
        if self._mirror:
            raise UsageError(
                "a warehouse in a bucket cannot be vacuumed: nobody knows who reads it"
            )
        return self._changed(lambda: vacuum(self.root, retention, delete=delete), keep=False)

    def info(self) -> dict[str, Any]:
        """Return version and sizes, and how many of each entity, file status and import mode.

        ``wh.info()["modes"]`` is ``{"full": 1200}`` where every element was read.
        """
        facts = describe(self.catalog)
        return facts | {"root": self._mirror.url} if self._mirror else facts

    def duplicates(self, *, limit: int | None = None) -> Iterator[Compared]:
        """Read each duplicate and its holder: a ``verdict`` but ``same`` is no true copy."""
        access = S3Access.from_variables(os.environ)
        return compare_duplicates(self.catalog, limit=limit, s3=access)

    def tables(self) -> pl.DataFrame:
        """Return name, kind, grain and description of every table and view; nothing is counted."""
        rows = [
            (m.name, "table" if m.table else "view", ", ".join(m.grain), m.summary)
            for m in self.catalog.models.values()
        ]
        return pl.DataFrame(rows, schema=["name", "kind", "grain", "description"], orient="row")

    def describe(self, name: str) -> pl.DataFrame:
        """Return column, type and meaning of every column of a table or view."""
        rows = [(c.name, c.type, c.description) for c in self.catalog.model(name).columns]
        return pl.DataFrame(rows, schema=["column", "type", "meaning"], orient="row")

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
        listed = ", ".join(literal(name) for name in names)
        return self.sql(f"from attributes([{listed}])")

    @names_failures
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
        return self._published(lambda _: definitions.save(locked_catalog(self.root), name, sql))

    @names_failures
    def cohort(self, name: str, **parameters: Any) -> Run:
        """Run a cohort on the newest version; its members are kept, see ``members``."""
        return self._published(lambda _: runs.run_cohort(self.root, name, parameters))

    @names_failures
    def members(self, run: Run | str) -> pl.LazyFrame:
        """Return the members of a run, or of the latest of a cohort: one row per instance."""
        found = runs.find_run(self.root, run) if isinstance(run, str) else run
        return pl.scan_parquet(runs.members_file(self.root, found))

    @names_failures
    def export(
        self, run: Run | str, target: str | os.PathLike[str], form: str, **options: Any
    ) -> dict[str, Any]:
        """Write the members of a run; see ``export_rows`` and ``export_files`` of cohorts."""
        found = runs.find_run(self.root, run) if isinstance(run, str) else run
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
        colour: bool = False, overlay: int | None = None, stack: str | None = None,
    ) -> LazyVolume:  # fmt: skip
        """Return a series as a lazy array (slice, row, column); voxels are read when sliced.

        ``affine`` maps an index to mm in LPS; see ``warehouse.pixels.volume.LazyVolume``, and
        ``warehouse.pixels.values.Values`` for what the options do to values and dtype.
        """
        values = Values(rescale, window, invert, colour, overlay)
        return open_volume(self.catalog, series_uid, values=values, stack=stack)

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
            keys = self.members(cohort).select("series_key").unique(maintain_order=True).collect()
            cohort = [key for key in keys["series_key"] if key is not None]
        return iter_volumes(self.catalog, cohort, ahead=ahead, values=Values(rescale=rescale))

    @names_failures
    def stack(
        self, series_uid: str, *, rescale: bool | str = False, overlay: int | None = None
    ) -> Stack:  # fmt: skip
        """Return the frames of any series, lazily, as stored; see ``warehouse.pixels.stack``."""
        values = Values(rescale=rescale, overlay=overlay)
        return open_stack(self.catalog, series_uid, values=values)


def header(path: str | os.PathLike[str]) -> Header:
    """Return the header of a DICOM file that need not be in any warehouse."""
    return header_of_file(path)


def open(  # noqa: A001 - warehouse.open reads as it is
    root: str | os.PathLike[str], *, create: bool = False, version: int | None = None
) -> Warehouse:
    """Open a warehouse.

    Parameters
    ----------
    root
        Folder, or ``s3://bucket/prefix``, which is worked with in a folder of this machine, see
        ``warehouse.store.mirror``; keys are taken from the environment.
    create
        Take a place where no warehouse is yet; the first ingest makes one there.
    version
        An older version, to be asked and not to be changed; by default the newest.

    Raises
    ------
    NotAWarehouse
        There is none, and ``create`` does not ask for one.
    UnknownVersion
        There is no such version, or no longer.
    """
    mirror = (
        open_mirror(str(root), S3Access.from_variables(os.environ)) if is_object(root) else None
    )
    found = mirror.root if mirror else Path(os.path.abspath(root))
    opened = Warehouse(found, mirror, version)
    try:
        if not create:
            require(found)
        if version is not None:
            _ = opened.catalog
    except StoreError as error:
        opened.close()
        if isinstance(error, NotAWarehouse) and mirror:
            raise NotAWarehouse(
                mirror.url, "there is none; create=True lets an ingest make it"
            ) from None
        if isinstance(error, NotAWarehouse) and not found.exists():
            raise NotAWarehouse(
                found, "it does not exist; create=True lets the first ingest make it"
            ) from None
        raise
    return opened
