"""REST: lists of what the archive holds, by the conditions of ``select``.

In: requests. Out: pages as JSON, or whole lists as CSV, Parquet or Arrow. Names, operators and
answers are those of ``dicom-warehouse select``.
"""

from __future__ import annotations

import json
import tempfile
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlencode

import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from warehouse.catalog import answer
from warehouse.cohorts import filters
from warehouse.cohorts.pages import fetched, page
from warehouse.errors import UnknownFilter, UsageError
from warehouse.server import deidentified
from warehouse.server.asking import Shown, Timed, base_url, may, serving
from warehouse.server.compat import translated
from warehouse.server.errors import RESPONSES, NotFound
from warehouse.server.json_values import plain
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb
    from starlette.types import Receive, Scope, Send

    from warehouse.catalog.connect import Catalog
    from warehouse.server.serving import Version

PAGE, MOST = 25, 10_000
VIEWS = {
    "patients": "patients", "studies": "studies", "series": "series", "instances": "instances",
    "files": "files", "images": "images", "element_definitions": "element_definitions",
    "sequence_types": "sequence_types", "sockets": "sockets", "values": "socket_values",
    "annotations": "annotations", "algorithms": "algorithms", "jobs": "jobs",
}  # fmt: skip
"""Lists by name: the view that each shows."""
Table = Literal[
    "patients", "studies", "series", "instances", "files", "images", "element_definitions",
    "sequence_types", "sockets", "values", "annotations", "algorithms", "jobs",
]  # fmt: skip
Entity = Literal["patients", "studies", "series", "instances"]
KEYS = {
    "patients": "patient_key", "studies": "study_key", "series": "series_key",
    "instances": "instance_key",
}  # fmt: skip
MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
_TEXT = r"^[^\x00-\x1f\x7f-\x9f]*$"
_OWN = {"search", "order", "ordering", "limit", "page_size", "cursor", "columns", "format"}

router = APIRouter(
    prefix="/api/v1", tags=["lists"], route_class=Timed,
    dependencies=[Depends(may("deidentified"))],
    responses={code: RESPONSES[code] for code in (400, 401, 403, 404, 408, 503)},
)  # fmt: skip

_ROW = {"type": "object", "additionalProperties": True}
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A page, or the whole list in another format",
        "content": {
            "application/json": {"schema": {
                "type": "object", "required": ["count", "next", "previous", "results"],
                "properties": {
                    "count": {"type": "integer"}, "next": {"type": ["string", "null"]},
                    "previous": {"type": ["string", "null"]},
                    "results": {"type": "array", "items": _ROW},
                },
            }},
            **{media: {} for media in MEDIA.values() if "json" not in media},
        },
    }
}  # fmt: skip
_ONE: dict[int | str, dict[str, Any]] = {
    200: {"description": "", "content": {"application/json": {"schema": _ROW}}}
}


def conditions(request: Request, table: str) -> dict[str, Any]:
    """Return the conditions that a query states, each with its value or a list of values."""
    found: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in _OWN:
            continue
        asked = f"-{name[:-1]}" if name.endswith("!") else name
        if asked in found:
            before = found[asked]
            found[asked] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[asked] = value
    return translated(table, found)


@router.get(
    "/series_csv",
    responses={200: {"description": "", "content": {MEDIA["csv"]: {}}}},
    dependencies=[Depends(may("read"))],
)
def fourteen_columns(request: Request, version: Shown) -> Response:
    """Return the series of a list as the CSV of django_dicom; parameters are conditions."""
    asked = conditions(request, "series")
    found = filters.select(version.catalog, "series", asked, columns=["series_key"])
    return _whole(request, version, "series", "csv", found, fourteen=True)


@router.get("/{table}", responses=_PAGE)
def rows(
    request: Request,
    version: Shown,
    table: Table,
    search: Annotated[
        str | None, Query(description="Text that some column contains", pattern=_TEXT)
    ] = None,
    limit: Annotated[int | None, Query(ge=1, le=MOST, description="Rows of a page")] = None,
    form: Annotated[
        Literal["json", "csv", "parquet", "arrow"],
        Query(alias="format", description="json: a page; others: every row"),
    ] = "json",
) -> Response:
    """List rows; any other parameter is a condition: `Modality=MR&EchoTime__max=30`.

    `order` and `columns` take names with commas between, `-` before one sorts downwards; `cursor`
    is that of `next` and `previous`.
    """
    given = request.query_params
    view = VIEWS[table]
    asked = conditions(request, table)
    columns = _names(given.get("columns", ""))
    order = _names(given.get("order", given.get("ordering", "")))
    principal = request.state.principal
    kept = columns
    if not principal.may("read"):
        kept = deidentified.allowed(
            version.catalog, view, conditions=asked, columns=columns, order=order, search=search,
            cursor=given.get("cursor"),
        )  # fmt: skip
    size = limit or _size(given.get("page_size"))
    if form != "json":
        found = filters.select(
            version.catalog, view, asked, search=search, order=order, columns=columns, limit=limit
        )
        if kept:
            found = found.project(", ".join(f'"{name}"' for name in kept))
        return _whole(request, version, table, form, found)
    shown = page(
        version.catalog, view, asked, search=search, order=order, columns=columns, limit=size,
        cursor=given.get("cursor"),
    )  # fmt: skip
    results = _json(version.catalog, shown.rows.select(kept) if kept else shown.rows)
    # The values of a cursor could be keys, which identify patients.
    linked = {"next": shown.next, "previous": shown.previous} if principal.may("read") else {}
    links = {name: _link(request, linked.get(name)) for name in ("next", "previous")}
    text = json.dumps({"count": shown.count, **links})[:-1] + f', "results": {results}}}'
    return Response(text, media_type="application/json")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _size(text: str | None) -> int:
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise UsageError(f"page_size is a whole number from 1 to {MOST}")
    return int(text)


def _link(request: Request, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    others = [(n, v) for n, v in request.query_params.multi_items() if n != "cursor"]
    return f"{base_url(request)}{request.url.path}?{urlencode([*others, ('cursor', cursor)])}"


def _json(catalog: Catalog, table: pa.Table) -> str:
    """Return rows as ``dicom-warehouse select --format json`` writes them."""
    if not table.num_rows:
        return "[]"
    session = catalog.session()
    with tempfile.TemporaryFile() as file:
        answer.send(catalog, session.from_arrow(table), "json", file)
        file.seek(0)
        return file.read().decode()


def _whole(
    request: Request, version: Version, table: str, form: str, found: duckdb.DuckDBPyRelation,
    *, fourteen: bool = False,
) -> Response:  # fmt: skip
    """Return every row of a list, in a file of its own until it is sent."""
    most = serving(request).settings.answer_rows
    reader = found.to_arrow_reader()
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is sent
    try:
        limited = pa.RecordBatchReader.from_batches(reader.schema, _at_most(reader, most))
        if form == "arrow":
            with pa.ipc.new_stream(file, reader.schema) as out:
                for batch in limited:
                    out.write_batch(batch)
        else:
            session = version.catalog.session()
            session.register("chosen", limited)
            if fourteen:
                session.execute("create temp table members as select series_key from chosen")
            relation = session.sql(statement("series_csv", "runs") if fourteen else "from chosen")
            answer.send(version.catalog, relation, form, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    name = f'attachment; filename="{table}.{form}"'
    return _Sent(file, media_type=MEDIA[form], headers={"Content-Disposition": name})


def _at_most(reader: pa.RecordBatchReader, most: int) -> Iterator[pa.RecordBatch]:
    seen = 0
    for batch in reader:
        seen += batch.num_rows
        if seen > most:
            raise UsageError(f"the list has more than {most} rows: add conditions or a limit")
        yield batch


class _Sent(StreamingResponse):
    """Sends a file and closes it, even if the client disconnects."""

    def __init__(self, file: IO[bytes], **given: Any) -> None:
        self._file = file
        super().__init__(iter(lambda: file.read(1 << 20), b""), **given)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


@router.get("/distinct/{table}/{attribute}", responses=_ONE)
def distinct(request: Request, version: Shown, table: Table, attribute: str) -> dict[str, Any]:
    """Return the distinct values of an attribute."""
    if not request.state.principal.may("read"):
        deidentified.allowed(version.catalog, VIEWS[table], conditions={attribute: ""})
    try:
        found = filters.values(version.catalog, VIEWS[table], attribute)
    except UnknownFilter as error:
        raise NotFound(str(error)) from None
    most = serving(request).settings.answer_rows
    if len(found) > most:
        raise UsageError(f"there are more than {most} values")
    return {"attribute": attribute, "values": [plain(value) for value in found]}


@router.get("/aggregates/{table}", responses=_ONE)
def aggregates(request: Request, version: Shown, table: Table) -> dict[str, Any]:
    """Return minimum and maximum of every number, date and time of a list."""
    view, catalog = VIEWS[table], version.catalog
    asked = conditions(request, table)
    shown = [
        column.name for column in catalog.model(view).columns
        if column.type in {"BIGINT", "INTEGER", "DOUBLE", "DATE", "TIME", "TIMESTAMP"}
    ]  # fmt: skip
    if not request.state.principal.may("read"):
        known = deidentified.allowed(catalog, view, conditions=asked)
        shown = [name for name in shown if name in known]
    query = filters.narrowed(catalog, view, asked)
    both = ", ".join(f'min("{name}"), max("{name}")' for name in shown)
    sql = f"select count(*){', ' if both else ''}{both} from ({query.sql((), ())})"
    count, *found = fetched(catalog, sql, query.values)[0]
    values = [plain(value) for value in found]
    pairs = zip(shown, values[::2], values[1::2], strict=True)
    return {"count": count, "columns": {n: {"min": low, "max": high} for n, low, high in pairs}}


@router.get("/{table}/{key}", responses=_ONE, dependencies=[Depends(may("read"))])
def one_entity(version: Shown, table: Entity, key: str) -> Response:
    """Return one patient, study, series or instance, by its key: the UID or PatientID."""
    found = filters.select(version.catalog, table, {KEYS[table]: key}, limit=1).to_arrow_table()
    if not found.num_rows:
        raise NotFound(f"{table} has no such row")
    return Response(_json(version.catalog, found).strip()[1:-1], media_type="application/json")
