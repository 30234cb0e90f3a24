"""REST routes for lists: rows of a view that match conditions, distinct values and aggregates.

In: requests. Out: pages as JSON, or whole lists as CSV, Parquet or Arrow. Names, operators and
results are those of ``dicom-warehouse select``.
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
"""Name of a list → its view."""
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
_Search = Annotated[str | None, Query(description="Text to find in any column", pattern=_TEXT)]
_RESERVED = {"search", "order", "ordering", "limit", "page_size", "cursor", "columns", "format"}

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
_OBJECT: dict[int | str, dict[str, Any]] = {
    200: {"description": "", "content": {"application/json": {"schema": _ROW}}}
}


def conditions(request: Request, table: str) -> dict[str, Any]:
    """Return the conditions in a query string, each with its value or a list of values."""
    stated: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in _RESERVED:
            continue
        key = f"-{name[:-1]}" if name.endswith("!") else name
        if key in stated:
            previous = stated[key]
            stated[key] = [*previous, value] if isinstance(previous, list) else [previous, value]
        else:
            stated[key] = value
    return translated(table, stated)


@router.get(
    "/series_csv",
    responses={200: {"description": "", "content": {MEDIA["csv"]: {}}}},
    dependencies=[Depends(may("read"))],
)
def fourteen_columns(request: Request, version: Shown, search: _Search = None) -> Response:
    """Return series as the CSV of django_dicom, with 14 columns; parameters are conditions."""
    _refuse_paging(request, "csv")
    wanted = conditions(request, "series")
    keys = filters.select(version.catalog, "series", wanted, search=search, columns=["series_key"])
    return _whole_list(request, version, "series", "csv", keys, is_series_csv=True)


@router.get("/{table}", responses=_PAGE)
def rows(
    request: Request,
    version: Shown,
    table: Table,
    search: _Search = None,
    limit: Annotated[int | None, Query(ge=1, le=MOST, description="Rows per page")] = None,
    form: Annotated[
        Literal["json", "csv", "parquet", "arrow"],
        Query(alias="format", description="json: one page; others: all rows"),
    ] = "json",
) -> Response:
    """List rows; any other parameter is a condition: `Modality=MR&EchoTime__max=30`.

    `order` and `columns` are comma-separated names; `-` before a name sorts in descending order.
    `cursor` is that of the links `next` and `previous`.
    """
    params = request.query_params
    view = VIEWS[table]
    wanted = conditions(request, table)
    columns = _split_names(params.get("columns", ""))
    order = _split_names(params.get("order", params.get("ordering", "")))
    principal = request.state.principal
    visible = columns
    if not principal.may("read"):
        visible = deidentified.allowed(
            version.catalog, view, conditions=wanted, columns=columns, order=order, search=search,
            cursor=params.get("cursor"),
        )  # fmt: skip
    size = limit or _page_size(params.get("page_size"))
    if form != "json":
        if ignored := [name for name in ("page_size", "cursor") if name in params]:
            raise UsageError(
                f"{' and '.join(ignored)}: format {form} has no pages; use limit, or format=json"
            )
        relation = filters.select(
            version.catalog, view, wanted, search=search, order=order, columns=columns, limit=limit
        )
        if visible:
            relation = relation.project(", ".join(f'"{name}"' for name in visible))
        return _whole_list(request, version, table, form, relation)
    paged = page(
        version.catalog, view, wanted, search=search, order=order, columns=columns, limit=size,
        cursor=params.get("cursor"),
    )  # fmt: skip
    results = _rows_as_json(version.catalog, paged.rows.select(visible) if visible else paged.rows)
    # A cursor may contain keys, which identify patients.
    cursors = {"next": paged.next, "previous": paged.previous} if principal.may("read") else {}
    links = {name: _page_link(request, cursors.get(name)) for name in ("next", "previous")}
    text = json.dumps({"count": paged.count, **links})[:-1] + f', "results": {results}}}'
    return Response(text, media_type="application/json")


def _refuse_paging(request: Request, form: str) -> None:
    """Refuse parameters of a page, which would be ignored.

    Raises
    ------
    UsageError
    """
    stated = {**request.query_params}
    if stated.get("format") == form:
        del stated["format"]
    if ignored := sorted(_RESERVED.intersection(stated) - {"search"}):
        raise UsageError(f"{' and '.join(ignored)}: this address has no pages, columns or formats")


def _split_names(text: str) -> list[str]:
    """Return names without repetitions, which would be columns of the same name."""
    return [*dict.fromkeys(name.strip() for name in text.split(",") if name.strip())]


def _page_size(text: str | None) -> int:
    if text is None:
        return PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise UsageError(f"page_size must be an integer from 1 to {MOST}")
    return int(text)


def _page_link(request: Request, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    others = [(n, v) for n, v in request.query_params.multi_items() if n != "cursor"]
    return f"{base_url(request)}{request.url.path}?{urlencode([*others, ('cursor', cursor)])}"


def _rows_as_json(catalog: Catalog, table: pa.Table) -> str:
    """Return rows as ``dicom-warehouse select --format json`` writes them."""
    if not table.num_rows:
        return "[]"
    session = catalog.session()
    with tempfile.TemporaryFile() as file:
        answer.send(catalog, session.from_arrow(table), "json", file)
        file.seek(0)
        return file.read().decode()


def _whole_list(
    request: Request, version: Version, table: str, form: str, relation: duckdb.DuckDBPyRelation,
    *, is_series_csv: bool = False,
) -> Response:  # fmt: skip
    """Return all rows of a list, from a temporary file."""
    limit = serving(request).settings.answer_rows
    reader = relation.to_arrow_reader()
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed after it is sent
    try:
        batches = pa.RecordBatchReader.from_batches(reader.schema, _limited_batches(reader, limit))
        if form == "arrow":
            with pa.ipc.new_stream(file, reader.schema) as out:
                for batch in batches:
                    out.write_batch(batch)
        else:
            session = version.catalog.session()
            session.register("chosen", batches)
            if is_series_csv:
                session.execute("create temp table members as select series_key from chosen")
            chosen = session.sql(
                statement("series_csv", "runs") if is_series_csv else "from chosen"
            )
            answer.send(version.catalog, chosen, form, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    name = f'attachment; filename="{table}.{form}"'
    return _TemporaryFile(file, media_type=MEDIA[form], headers={"Content-Disposition": name})


def _limited_batches(reader: pa.RecordBatchReader, limit: int) -> Iterator[pa.RecordBatch]:
    count = 0
    for batch in reader:
        count += batch.num_rows
        if count > limit:
            raise UsageError(f"the list has more than {limit} rows: add conditions or a limit")
        yield batch


class _TemporaryFile(StreamingResponse):
    """Sends a file and closes it, even if the client disconnects."""

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        self._file = file
        super().__init__(iter(lambda: file.read(1 << 20), b""), **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


@router.get("/distinct/{table}/{attribute}", responses=_OBJECT)
def distinct(request: Request, version: Shown, table: Table, attribute: str) -> dict[str, Any]:
    """Return the distinct values of an attribute, of all rows."""
    if request.query_params:
        raise UsageError(
            "distinct values are those of all rows, without parameters; ask SQL for those of some"
        )
    if not request.state.principal.may("read"):
        deidentified.allowed(version.catalog, VIEWS[table], conditions={attribute: ""})
    try:
        distinct_values = filters.values(version.catalog, VIEWS[table], attribute)
    except UnknownFilter as error:
        raise NotFound(str(error)) from None
    limit = serving(request).settings.answer_rows
    if len(distinct_values) > limit:
        raise UsageError(f"the attribute has more than {limit} distinct values")
    return {"attribute": attribute, "values": [plain(value) for value in distinct_values]}


@router.get("/aggregates/{table}", responses=_OBJECT)
def aggregates(
    request: Request, version: Shown, table: Table, search: _Search = None
) -> dict[str, Any]:
    """Return the row count, and the minimum and maximum of numeric, date and time columns."""
    _refuse_paging(request, "json")
    view, catalog = VIEWS[table], version.catalog
    wanted = conditions(request, table)
    # NaN, which DuckDB sorts above all numbers, is no value.
    columns = {
        column.name: f"nullif(\"{column.name}\", 'nan'::double)" if column.type == "DOUBLE"
        else f'"{column.name}"'
        for column in catalog.model(view).columns
        if column.type in {"BIGINT", "INTEGER", "DOUBLE", "DATE", "TIME", "TIMESTAMP"}
    }  # fmt: skip
    if not request.state.principal.may("read"):
        permitted = deidentified.allowed(catalog, view, conditions=wanted, search=search)
        columns = {name: sql for name, sql in columns.items() if name in permitted}
    query = filters.narrowed(catalog, view, wanted, search=search)
    extremes = ", ".join(f"min({sql}), max({sql})" for sql in columns.values())
    sql = f"select count(*){', ' if extremes else ''}{extremes} from ({query.sql((), ())})"
    count, *bounds = fetched(catalog, sql, query.values)[0]
    values = [plain(value) for value in bounds]
    pairs = zip(columns, values[::2], values[1::2], strict=True)
    return {"count": count, "columns": {n: {"min": low, "max": high} for n, low, high in pairs}}


@router.get("/{table}/{key}", responses=_OBJECT, dependencies=[Depends(may("read"))])
def one_entity(version: Shown, table: Entity, key: str) -> Response:
    """Return one patient, study, series or instance, by its key: the UID or PatientID."""
    entity = filters.select(version.catalog, table, {KEYS[table]: key}, limit=1).to_arrow_table()
    if not entity.num_rows:
        raise NotFound(f"{table} has no such row")
    return Response(
        _rows_as_json(version.catalog, entity).strip()[1:-1], media_type="application/json"
    )
