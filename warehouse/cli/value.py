"""``value``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from warehouse.cli.answers import Format, list_rows
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Output, Root, Text, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console
from warehouse.counted import counted
from warehouse.errors import UsageError
from warehouse.escape import escaped

value = App(
    name="value",
    help="Values of people and algorithms, validated by their socket and stored once.\n\n"
    "Example: `dicom-warehouse value add nodule reader1.json --series 1.2.3`",
)

SetName = Annotated[Text, Parameter(name="--set", help="Name of the set.")]


@value.command
def add(
    slug: Text,
    file: Path | None = None,
    /,
    *,
    json_value: Annotated[
        Text | None, Parameter(name="--json", help="The value, as JSON text.")
    ] = None,
    dicom_series: Annotated[
        Text | None, Parameter(help="SeriesInstanceUID of a DICOM image set.")
    ] = None,
    series: Annotated[
        Text | None, Parameter(help="SeriesInstanceUID of the series that it is about.")
    ] = None,
    instance: Annotated[
        Text | None, Parameter(help="SOPInstanceUID of the instance that it is about.")
    ] = None,
    study: Annotated[
        Text | None, Parameter(help="StudyInstanceUID of the study that it is about.")
    ] = None,
    patient: Annotated[
        Text | None, Parameter(help="PatientID of the patient that it is about.")
    ] = None,
    by: Annotated[Text, Parameter(help="Name to record as the author.")] = "",
    tool: Annotated[Text, Parameter(help="Program that created it.")] = "",
    tool_version: Text = "",
    null_not_finite: Annotated[
        bool, Parameter(negative="", help="Read NaN and Infinity in JSON files as null.")
    ] = False,
    strict: Annotated[
        bool, Parameter(negative="", help="Check geometry too: rectangles, affine matrices.")
    ] = False,
    form: Annotated[
        Literal["json"] | None, Parameter(name="--format", help="Print one JSON object.")
    ] = None,
    warehouse: Root = DEFAULT_WAREHOUSE,
) -> int:
    """Validate a value and store it; equal values are stored once.

    Example: `dicom-warehouse value add nodules one.json --series 1.2.3`

    Example: `dicom-warehouse value add malignancy --json 0.85 --series 1.2.3`

    Parameters
    ----------
    slug
        Socket of the value.
    file
        File with the value, of JSON or of another kind.
    """
    from warehouse.components import json_text
    from warehouse.components.values import MISSING

    parsed: Any = MISSING if json_value is None else json_text.parse(json_value.encode())
    done = opened(warehouse).components.add_value(
        slug, parsed, file=file, dicom_series=dicom_series, series=series, instance=instance,
        study=study, patient=patient, by=by, tool=tool, tool_version=tool_version,
        null_not_finite=null_not_finite, strict=strict,
    )  # fmt: skip
    if form == "json":
        send_document({
            "value_id": done.value_id, "is_new": done.is_new, "is_new_use": done.is_new_use,
        })  # fmt: skip
        return 0
    what = "added" if done.is_new else "stored already" + (", used anew" * done.is_new_use)
    console().print(f"value {done.value_id}: {what}", highlight=False)
    return 0


@value.command(name="list")
def list_values(
    slug: Text | None = None,
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Format = None,
    output: Output = None,
    force: Force = False,
) -> int:
    """List values with their author and subject.

    Example: `dicom-warehouse value list nodule`

    Parameters
    ----------
    slug
        Only values of this socket.
    """
    wh = opened(warehouse)
    if slug is not None:
        wh.components.socket(slug)
    return list_rows(
        wh,
        "select value_id, slug, form, value, about, series_key, added_by, added_at "
        "from values_about where slug = coalesce($1, slug) order by added_at, use_id",
        form, output, force=force, values=[slug],
    )  # fmt: skip


@value.command
def show(value_id: Text, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Print a JSON value, or the path of the file of any other value.

    Example: `dicom-warehouse value show 0a1b2c3d`

    Parameters
    ----------
    value_id
        Id of the value, or a unique prefix of it.
    """
    components = opened(warehouse).components
    if not components.is_json(value_id):
        file = components.value_file(value_id)
        if as_json:
            send_document({"file": file})
        else:
            print(escaped(file))
        return 0
    value = components.value(value_id)
    send_document({"value": value} if as_json else value, indented=not as_json)
    return 0


@value.command
def check(
    *slugs: Text, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False
) -> int:  # fmt: skip
    """Validate stored values with the newest version of their sockets, and verify their files.

    Exits with 1 if one is not valid.

    Example: `dicom-warehouse value check`

    Parameters
    ----------
    slugs
        Sockets to check; all by default.
    """
    components = opened(warehouse).components
    total, failed = 0, list[dict[str, object]]()
    for slug in slugs or components.sockets():
        for checked in components.check(slug):
            total += 1
            if checked.why_not:
                why = {"path": checked.path, "why_not": checked.why_not}
                failed.append({"slug": slug, "value_id": checked.value_id, **why})
    if as_json:
        send_document({"checked": total, "failing": failed})
        return 1 if failed else 0
    screen = console()
    for failure in failed:
        line = "{slug}  {value_id}  {path}: {why_not}".format(**failure)
        screen.print(line, highlight=False, markup=False)
    screen.print(f"{counted(total, 'value')} checked, {len(failed)} not valid", highlight=False)
    return 1 if failed else 0


@value.command(name="import")
def import_set(
    source: Path,
    /,
    *,
    set_name: SetName,
    by: Annotated[Text, Parameter(help="Name to record as the author.")] = "",
    keep_going: Annotated[
        bool, Parameter(negative="", help="Import the valid values and list the others.")
    ] = False,
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Import a set of values: a folder of ITEM/PATH, or archive items in Grand Challenge's JSON.

    Example: `dicom-warehouse value import readers/ --set readers`
    """
    done = opened(warehouse).components.import_set(
        set_name, source, by=by, keep_going=keep_going
    )  # fmt: skip
    failed = [each for each in done if each.why_not]
    if as_json:
        why = [{"item": each.item, "path": each.path, "why_not": each.why_not} for each in failed]
        send_document({"set": set_name, "taken": len(done) - len(failed), "failing": why})
        return 1 if failed else 0
    screen = console()
    for each in failed:
        screen.print(f"{each.item}/{each.path}: {each.why_not}", highlight=False, markup=False)
    imported = len(done) - len(failed)
    screen.print(f"{counted(imported, 'value')} in set {set_name}, {len(failed)} not imported")
    return 1 if failed else 0


@value.command(name="export")
def export_set(
    *, set_name: SetName, output: Output = None, warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Export a set of values as a folder of ITEM/PATH with a listing.

    Example: `dicom-warehouse value export --set readers -o readers`
    """
    if output is None:
        raise UsageError("name a folder with -o")
    count = opened(warehouse).components.export_set(set_name, output)
    if as_json:
        send_document({"set": set_name, "values": count, "target": str(output)})
        return 0
    console().print(f"{counted(count, 'value')} written to {output}", highlight=False)
    return 0
