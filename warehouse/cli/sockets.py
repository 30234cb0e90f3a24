"""``socket``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from warehouse.cli.answers import Format, list_rows
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Output, Root, Text, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console
from warehouse.counted import counted

socket = App(
    name="socket",
    help="Sockets: types of values, with a kind, a path and a schema.\n\n"
    "Example: `dicom-warehouse socket list`",
)

By = Annotated[Text, Parameter(help="Name to record as the author.")]
SchemaFile = Annotated[
    Path | None,
    Parameter(help="File with a JSON Schema (draft 4, 6 or 7) in addition to the kind."),
]
DefaultText = Annotated[Text | None, Parameter(name="--default", help="Default value, as JSON.")]
ExampleText = Annotated[Text | None, Parameter(name="--example", help="A value to copy, as JSON.")]
SegmentsFile = Annotated[
    Path | None,
    Parameter(help="File with the overlay segments of a segmentation: a JSON list of voxel_value, "
              "name and visible."),
]  # fmt: skip
TableFile = Annotated[
    Path | None,
    Parameter(name="--look-up-table", help="File with a look-up table: a JSON object."),
]


def _given_fields(
    schema: Path | None, default: str | None, example: str | None, segments: Path | None,
    table: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Return the fields that were given, parsed from files and texts."""
    from warehouse.components import json_text

    files = {"schema": schema, "overlay_segments": segments, "look_up_table": table}
    texts = {"default_value": default, "example_value": example}
    fields = {name: _json_of(path) for name, path in files.items() if path is not None}
    return fields | {
        name: json_text.parse(text.encode()) for name, text in texts.items() if text is not None
    }


def _json_of(path: Path) -> Any:
    from warehouse.components import files, json_text

    with files.opened(path) as file:
        return json_text.parse(file.read())


@socket.command
def create(
    title: Text,
    /,
    *,
    kind: Annotated[Text, Parameter(help="Code or label of its kind: see the view kinds.")],
    path: Annotated[Text, Parameter(help="Path of its values below /input and /output.")],
    description: Text = "",
    as_file: Annotated[
        bool, Parameter(negative="", help="Store JSON values as files, not in the table.")
    ] = False,
    schema: SchemaFile = None,
    default: DefaultText = None,
    example: ExampleText = None,
    segments: SegmentsFile = None,
    table: TableFile = None,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Create a socket; its slug is derived from the title.

    Example: `dicom-warehouse socket create Nodules --kind MPOL --path nodules.json`
    """
    fields = _given_fields(schema, default, example, segments, table)
    if as_file:
        fields["store_in_database"] = False
    created = opened(warehouse).components.create_socket(
        by=by, title=title, kind=kind, relative_path=path, description=description, **fields
    )
    if as_json:
        send_document({"slug": created.slug, "kind": created.kind, "version": created.version})
        return 0
    console().print(f"socket {created.slug}: {created.of_kind.label}", highlight=False)
    return 0


@socket.command(name="list")
def list_sockets(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    for_algorithms: Annotated[
        bool,
        Parameter(negative="", help="Only those that can be inputs and outputs of algorithms."),
    ] = False,
    form: Format = None,
    output: Output = None,
    force: Force = False,
) -> int:
    """List sockets, in the order of listings of values.

    Example: `dicom-warehouse socket list`
    """
    wanted = "not is_reserved and not is_retired" if for_algorithms else "true"
    return list_rows(
        opened(warehouse),
        "select slug, title, kind, super_kind, relative_path, version, is_retired from sockets "
        f"where {wanted} order by listing_rank, slug",
        form, output, force=force,
    )  # fmt: skip


@socket.command
def show(slug: Text, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Print a socket as JSON: the ten keys of Grand Challenge's API, schema, example and version.

    Example: `dicom-warehouse socket show results-json-file`
    """
    shown = opened(warehouse).components.socket(slug)
    facts = shown.serialized() | {
        "schema": shown.schema, "example_value": shown.example, "version": shown.version,
        "is_retired": shown.is_retired,
    }  # fmt: skip
    send_document(facts, indented=not as_json)
    return 0


@socket.command
def edit(
    slug: Text,
    /,
    *,
    title: Text | None = None,
    kind: Text | None = None,
    description: Text | None = None,
    schema: SchemaFile = None,
    default: DefaultText = None,
    example: ExampleText = None,
    segments: SegmentsFile = None,
    table: TableFile = None,
    even_if_values_fail: Annotated[
        bool, Parameter(negative="", help="Even if existing values become invalid.")
    ] = False,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Add a version of a socket, and list the existing values that it would refuse.

    Path and place of storage cannot be changed, nor the kind if there are values.

    Example: `dicom-warehouse socket edit lung-nodules --schema stricter.json`
    """
    texts = {"title": title, "kind": kind, "description": description}
    changes = _given_fields(schema, default, example, segments, table)
    changes |= {name: text for name, text in texts.items() if text is not None}
    done = opened(warehouse).components.edit_socket(
        slug, by=by, even_if_values_fail=even_if_values_fail, **changes
    )
    if as_json:
        failing = [
            {"value_id": each.value_id, "path": each.path, "why_not": each.why_not}
            for each in done.failing
        ]
        facts = {"slug": slug, "version": done.socket.version, "checked": len(done.report)}
        send_document(facts | {"failing": failing})
        return 0
    screen = console()
    screen.print(f"socket {slug}: version {done.socket.version}", highlight=False)
    if done.report:
        text = f"{counted(len(done.report), 'value')} checked, {len(done.failing)} not valid"
        screen.print(text, highlight=False)
    for failed in done.failing:
        line = f"{failed.value_id}  {failed.path}: {failed.why_not}"
        screen.print(line, highlight=False, markup=False)
    return 0


@socket.command
def retire(
    slug: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False
) -> int:
    """Retire a socket: it accepts no more values; existing values, slug and path stay.

    Example: `dicom-warehouse socket retire lung-nodules`
    """
    opened(warehouse).components.retire_socket(slug, by=by)
    if as_json:
        send_document({"slug": slug, "is_retired": True})
        return 0
    console().print(f"socket {slug} is retired", highlight=False)
    return 0
