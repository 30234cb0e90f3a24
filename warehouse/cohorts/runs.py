"""Runs of cohorts: the members at one version, stored and never changed.

In: a definition with values. Out: ``Run``, a folder that is never changed::

    my-warehouse/cohorts/runs/NAME-0001/
    ├── run.json         name, SQL and its sha256, parameters, version, time, digest, counts
    └── members.parquet  one row per instance, sorted by instance_key

The digest is the sha256 of the sorted instance keys, one per line: what ``sha256sum`` prints for
the UID list of the run.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import html
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.cohorts.asking import Limits, pick, pick_apart
from warehouse.cohorts.definitions import FOLDER, definition, question, valid_name, values
from warehouse.cohorts.guard import locked_catalog
from warehouse.counted import counted_level
from warehouse.errors import StoreDamaged, UnknownCohort, WriteFailed
from warehouse.sqlfiles import statement
from warehouse.store.duck import lent
from warehouse.store.marker import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import duckdb
    import polars as pl

    from warehouse.catalog.connect import Catalog

_WIDTH = 200
"""Number of characters of a query that are shown."""
MEMBERS = "members.parquet"
ABOUT = "run.json"
LEVELS = ("instance", "series", "study", "patient")


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """A stored run of a cohort."""

    run: str
    cohort: str
    kind: str
    """``shipped``, ``saved``, or the operation that made it from other runs."""
    sql: str
    sql_sha256: str
    parameters: dict[str, Any]
    level: str
    """Entity level of the cohort's rows: instance, series, study or patient."""
    warehouse: dict[str, Any]
    """``id`` and ``version`` of the warehouse, and ``newest_instance_id``."""
    package_version: str
    made_at: str
    digest: str
    counts: dict[str, int]
    made_of: list[dict[str, str]] = field(default_factory=list)
    """Name and digest of the runs that it was made from."""
    forgotten: int = 0
    """Number of members forgotten since; the digest still includes them."""
    is_redacted: bool = False
    """Whether a forgotten identifier was replaced in SQL or parameters; ``sql_sha256`` is older."""

    def __repr__(self) -> str:
        """Return the query and the number of members."""
        given = ", ".join(f"{k}={v!r}" for k, v in self.parameters.items() if v is not None)
        text = f"{self.cohort}({given})"
        counts = ", ".join(counted_level(count, level) for level, count in self.counts.items())
        short = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
        version = self.warehouse.get("version")
        return f"<Run {self.run}: {short}\n {counts}\n version {version}, digest {self.digest}>"

    def _repr_html_(self) -> str:
        """Return the same as HTML, for notebooks."""
        return f"<pre>{html.escape(repr(self))}</pre>"

    def same_question(self, other: Run) -> bool:
        """Whether both runs have the same SQL and the same parameters."""
        return (self.sql_sha256, self.parameters) == (other.sql_sha256, other.parameters)


def runs_folder(root: Path) -> Path:
    """Return the folder of all runs of a warehouse."""
    return root / FOLDER / "runs"


def members_file(root: Path, run: Run) -> Path:
    """Return the Parquet file with the members of a run."""
    path = runs_folder(root) / run.run / MEMBERS
    if not path.is_file():
        raise StoreDamaged(
            root, f"{path.relative_to(root)} is missing",
            f"restore {path.parent.relative_to(root)} from a backup, or move it away",
        )  # fmt: skip
    return path


def run_cohort(
    root: Path, name: str, given: Mapping[str, Any] | None = None, limits: Limits | None = None
) -> Run:
    """Run a cohort on the newest version and store its members.

    If the same query was already run on the same version of the warehouse, the existing run is
    returned.

    Raises
    ------
    UnknownCohort, UnknownParameter, UnsafeCohort, UnknownTable, MembersUnclear, WriteFailed
    CohortStopped
        The SQL of a saved cohort exceeded ``limits``.
    """
    catalog = locked_catalog(root)
    cohort = definition(root, name)
    asked = question(catalog, cohort)
    parameters = values(catalog, cohort, given or {})
    connection = catalog.connection
    version = catalog.snapshot.version
    if cohort.kind == "saved":
        picked = pick_apart(root, asked.sql, parameters, version, limits or Limits())
    else:
        picked = pick(connection, asked.sql, parameters)
    connection.from_arrow(pa.table({"key": picked.keys})).create("picked")
    connection.execute("set variable picked_level = $1", [picked.level])
    facts = {
        "id": identity(root),
        "version": version,
        "newest_instance_id": _newest(catalog),
    }
    members = _arrow(connection, statement("members", "runs"))
    return keep(
        root, members, cohort=name, kind=cohort.kind, sql=cohort.text, parameters=parameters,
        level=picked.level,
        warehouse=facts,
    )  # fmt: skip


def _arrow(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.RecordBatchReader:
    return connection.sql(sql).to_arrow_reader(100_000)


def keep(
    root: Path, members: pa.RecordBatchReader, *, cohort: str, kind: str, sql: str,
    parameters: dict[str, Any], level: str, warehouse: dict[str, Any], made_of: Iterable[Run] = (),
) -> Run:  # fmt: skip
    """Store members as a new run."""
    valid_name(cohort)
    folder = runs_folder(root)
    draft = folder / f".{cohort}.{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        digest = hashlib.sha256()
        with pq.ParquetWriter(draft / MEMBERS, members.schema, compression="zstd") as writer:
            for batch in members:
                writer.write_batch(batch)
                digest.update("".join(f"{k}\n" for k in batch["instance_key"].to_pylist()).encode())
        made = Run(
            run="", cohort=cohort, kind=kind, sql=sql,
            sql_sha256=hashlib.sha256(sql.encode()).hexdigest(),
            parameters={name: _plain(value) for name, value in parameters.items()}, level=level,
            warehouse=warehouse,
            package_version=package_version(),
            made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            digest=digest.hexdigest(), counts=_counts(draft / MEMBERS),
            made_of=[{"run": run.run, "digest": run.digest} for run in made_of],
        )  # fmt: skip
        return _store_or_reuse(folder, draft, made)
    except (OSError, pa.ArrowException) as error:
        raise WriteFailed(f"a run of {cohort}", error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _store_or_reuse(folder: Path, draft: Path, made: Run) -> Run:
    """Rename the draft to the next number, or return the existing equal run."""
    while True:
        known = [run for run in runs(folder.parent.parent) if run.cohort == made.cohort]
        for run in known:
            if _same(run, made):
                return run
        # Of folders, as one without a readable description has its number, too.
        numbers = [path.name.rsplit("-", 1)[1] for path in folder.glob(f"{made.cohort}-*")]
        number = max((int(name) for name in numbers if name.isdecimal()), default=0) + 1
        named = Run(**{**asdict(made), "run": f"{made.cohort}-{number:04d}"})
        text = json.dumps(asdict(named), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (draft / ABOUT).write_text(text, encoding="utf-8")
        for name in (ABOUT, MEMBERS):
            os.chmod(draft / name, 0o444)
        try:
            draft.rename(folder / named.run)
        except OSError:
            if not (folder / named.run).exists():
                raise
            os.chmod(draft / ABOUT, 0o644)  # another process took the number
            continue
        return named


def _same(run: Run, made: Run) -> bool:
    facts = ("kind", "sql_sha256", "parameters", "level", "warehouse", "digest", "made_of")
    return all(getattr(run, fact) == getattr(made, fact) for fact in facts)


def runs(root: Path) -> list[Run]:
    """Return all runs of a warehouse sorted by name, for each cohort the oldest first."""
    return [read_run(root, path) for path in sorted(runs_folder(root).glob(f"[!.]*/{ABOUT}"))]


def read_run(root: Path, path: Path) -> Run:
    """Read a stored run.

    Raises
    ------
    StoreDamaged
        Its description cannot be read, or describes another run.
    """
    try:
        found = Run(**json.loads(path.read_text(encoding="utf-8")))
        is_right = found.run == path.parent.name and found.run.rsplit("-", 1)[1].isdecimal()
        is_right = is_right and found.run.rsplit("-", 1)[0] == found.cohort
        is_right = is_right and isinstance(found.counts, dict) and isinstance(found.digest, str)
    except (OSError, ValueError, TypeError, AttributeError, IndexError):
        is_right = False
    if not is_right or path.is_symlink() or (path.parent / MEMBERS).is_symlink():
        name = path.relative_to(root)
        raise StoreDamaged(
            root, f"{name} cannot be read", f"restore {name.parent} from a backup, or move it away"
        )
    return found


def find_run(root: Path, name: Run | str) -> Run:
    """Return a run by its name, or the latest run of a cohort; return a ``Run`` unchanged.

    Raises
    ------
    UnknownCohort
        There is none; the message suggests similar names.
    """
    if isinstance(name, Run):
        return name
    known = runs(root)
    found = [run for run in known if name in {run.run, run.cohort}]
    if not found:
        names = {run.run for run in known} | {run.cohort for run in known}
        raise UnknownCohort(name, names, "run of a cohort")
    return max(found, key=lambda run: int(run.run.rsplit("-", 1)[1]))


def members(root: Path, run: Run | str) -> pl.LazyFrame:
    """Return the members of a run, or of a cohort's latest run: one row per instance."""
    import polars as pl  # noqa: PLC0415 - who asks SQL alone does without

    return pl.scan_parquet(members_file(root, find_run(root, run)))


def series_keys(members: pl.LazyFrame) -> list[str]:
    """Return the distinct series keys of the members of a run, in the order of the members."""
    keys = members.select("series_key").unique(maintain_order=True).collect()
    return [key for key in keys["series_key"] if key is not None]


def _counts(members: Path) -> dict[str, int]:
    with lent() as connection:
        connection.read_parquet(str(members)).create_view("members")
        answer = connection.execute(statement("counts", "runs"))
        names = [column[0] for column in answer.description or []]
        return dict(zip(names, answer.fetchall()[0], strict=True))


def _newest(catalog: Catalog) -> int:
    answer = catalog.connection.execute("select coalesce(max(instance_id), -1) from instances")
    return int(answer.fetchall()[0][0])


@functools.cache
def package_version() -> str:
    """Return the version of this package; a checkout that is not installed has no version."""
    try:
        return metadata.version("dicom-warehouse")
    except metadata.PackageNotFoundError:
        return "not installed"


def _plain(value: Any) -> Any:
    """Return a value that JSON can represent: dates and times as ISO text."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
