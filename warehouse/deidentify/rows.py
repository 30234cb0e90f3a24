"""De-identify rows, by the same profile as files.

In: a run or all of a warehouse, a profile, a key. Out: rows of patients, studies, series or
instances. Columns of DICOM attributes are kept, shifted or replaced by the profile; those that it
removes, empties, replaces by a dummy or cleans as text are left out (files have cleaned text).
Derived columns are left out unless listed here. Kept text is null where it contains a name, an ID
or a date.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from warehouse.catalog.connect import open_catalog
from warehouse.cohorts.drafts import finish_export, refuse_export
from warehouse.cohorts.export_rows import ENTITIES, check_options, write_table
from warehouse.cohorts.members import members_of
from warehouse.cohorts.runs import package_version
from warehouse.deidentify.identity import tokens_of
from warehouse.deidentify.key import Key, random_key
from warehouse.deidentify.profile import BASIC, Profile, profile
from warehouse.deidentify.values import FIRST_YEAR, LAST_YEAR, PLACEHOLDERS
from warehouse.dicom.dictionary import elements, keyword_tags
from warehouse.errors import SourceNotFound, UsageError
from warehouse.outputs import draft_of, place, refuse_existing
from warehouse.sqlfiles import statement
from warehouse.store.duck import literal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run

_EVERYTHING = "create or replace temp view members as select instance_key from instances"
KEYS = {
    "patients": "patient_key", "studies": "study_key", "series": "series_key",
    "instances": "instance_key",
}  # fmt: skip
_UIDS = {"instance_key", "series_key", "study_key"}
_STAMPS = {"series_at", "study_at", "latest_study_at"}
_HARMLESS = {
    "has_missing_uid", "instance_count", "series_count", "study_count", "image_count",
    "frame_count", "patient_count", "is_encapsulated", "spatial_resolution_mm",
    "magnetic_field_strength_t", "manufacturer_name", "pulse_sequence_name", "modalities",
    "functional_groups", "frames_differ", "not_read",
}  # fmt: skip
_BATCH = 50_000
_DAY = (
    r"(^|\D)((19|20)\d\d[-./: ]?(0[1-9]|1[0-2])[-./: ]?([0-2]\d|3[01])(\d{4}|\d{6})?"
    r"|\d{1,2}[-./ ]\d{1,2}[-./ ](19|20)\d\d)(\D|$)"
)


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str


def export_rows_deidentified(
    root: Path, run: Run, target: Path, form: str, name: str, *, retain: Iterable[str] = (),
    clean: Iterable[str] = (), key: Key | None = None, rows: str = "series",
    preset: str | None = None, spreadsheet: bool = False, force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write de-identified rows of the members of a run.

    Parameters
    ----------
    root, run, target, form, rows, spreadsheet, force
        As of ``warehouse.cohorts.export_rows.export_rows``, without the format s5cmd.
    name, retain, clean, key
        As of ``warehouse.deidentify.export.export_deidentified``.
    preset
        Not supported, as its columns would be left out.

    Raises
    ------
    TargetExists, UsageError, ExportFailed
    """
    if preset:
        raise UsageError("preset is not an option of de-identified exports")
    check_options(form, rows, preset, spreadsheet=spreadsheet)
    refuse_export(target, force=force)
    chosen = profile(name, retain=retain, clean=clean)
    catalog = members_of(root, run)
    make_identities(catalog, key or random_key(), chosen)
    if form == "uids":
        rows = "instances"
    query = deidentified(catalog, rows, chosen, members=True)
    counted = catalog.connection.execute(f"select count(*) from ({query})").fetchall()[0][0]
    facts: dict[str, Any] = {
        "format": form,
        "package_version": package_version(),
        "counts": {"rows": counted},
        "deidentified": {"profile": chosen.name, "options": list(chosen.options)},
        "digest": "",
    }
    with draft_of(target) as draft:
        if form == "uids":
            uids = catalog.connection.execute(f"select instance_key from ({query})").fetchall()
            draft.write_text("".join(f"{uid}\n" for (uid,) in uids), encoding="ascii")
        else:
            write_table(catalog, draft, form, query, facts, spreadsheet=spreadsheet)
        finish_export(draft, target, facts, force=force)
    return facts


def write_views(
    root: Path, target: Path, *, name: str = BASIC, retain: Iterable[str] = (),
    clean: Iterable[str] = (), key: Key | None = None, force: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Write a DuckDB database with the schema ``deidentified``; return its rows by table.

    It has patients, studies, series and instances of the newest version of the warehouse, and
    nothing that leads back to the files: no paths and no key. See ``open_views``.

    Parameters
    ----------
    root
        Folder of the warehouse.
    target
        File that does not exist yet, unless ``force``.
    name, retain, clean, key
        As of ``warehouse.deidentify.export.export_deidentified``.

    Raises
    ------
    TargetExists, UsageError, ExportFailed
    """
    refuse_existing(target, force=force)
    chosen = profile(name, retain=retain, clean=clean)
    catalog = open_catalog(root)
    connection = catalog.connection
    connection.execute(_EVERYTHING)
    make_identities(catalog, key or random_key(), chosen)
    counts: dict[str, int] = {}
    with draft_of(target) as draft:
        connection.execute(f"attach {literal(str(draft))} as made")
        try:
            connection.execute("create schema made.deidentified")
            for entity in ENTITIES:
                query = deidentified(catalog, entity, chosen, members=False)
                connection.execute(f"create table made.deidentified.{entity} as {query}")
                (row,) = connection.execute(
                    f"select count(*) from made.deidentified.{entity}"
                ).fetchall()
                counts[entity] = row[0]
        finally:
            connection.execute("detach made")
        place(draft, target, force=force)
    return counts


def open_views(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a database that ``write_views`` wrote, without access to anything else.

    Queries cannot read files or attach databases, and settings cannot be changed.

    Raises
    ------
    SourceNotFound, UsageError
    """
    if not path.is_file():
        raise SourceNotFound(str(path))
    locked: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "lock_configuration": "true",
    }
    try:
        connection = duckdb.connect(str(path), read_only=True, config=locked)
        connection.execute("use deidentified")
    except duckdb.Error:
        raise UsageError(f"{path} was not written by deidentify views") from None
    return connection


def make_identities(catalog: Catalog, key: Key, chosen: Profile) -> None:
    """Create the temporary tables ``new_uids`` and ``new_patients`` for the members."""
    connection = catalog.connection
    connection.execute("create or replace temp table new_uids (old varchar, new varchar)")
    keeps = "uids" in chosen.options
    old = connection.sql(statement("old_identities", "runs")).to_arrow_reader(_BATCH)
    for batch in list(old):
        olds = batch["uid"].to_pylist()
        news = olds if keeps else [key.uid(uid) for uid in olds]
        part = pa.table({"old": olds, "new": news})
        connection.register("part", part)
        connection.execute("insert into new_uids from part")
        connection.unregister("part")
    rows = []
    for patient, names, ids in connection.execute(statement("old_patients", "runs")).fetchall():
        tokens = sorted(tokens_of(patient, names or (), ids or ()))
        rows.append((patient, key.patient(patient), key.days(patient), tokens))
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    types = (pa.string(), pa.string(), pa.int64(), pa.list_(pa.string()))
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)],
        ["old", "new", "days", "tokens"],
    )
    connection.register("part", table)
    connection.execute("create or replace temp table new_patients as from part")
    connection.unregister("part")


def deidentified(catalog: Catalog, entity: str, chosen: Profile, *, members: bool) -> str:
    """Return the SQL query for the de-identified rows of an entity.

    It uses ``new_uids`` and ``new_patients``; see ``make_identities``.
    """
    selected, joins = [], []
    for number, column in enumerate(catalog.model(entity).columns):
        expression, join = _expression(_Column(column.name, column.type), f"u{number}", chosen)
        if expression:
            selected.append(f'{expression} as "{column.name}"')
            joins += [join] if join else []
    key = KEYS[entity]
    members_join = f" semi join members on rows.{key} = members.{key}" if members else ""
    order = f'"{key}"'
    return (
        f"select {', '.join(selected)} from (from {entity} as rows{members_join}) as e "
        "left join new_patients as p on coalesce(e.patient_key, 'none') = p.old "
        f"{' '.join(joins)} order by {order}"
    )


def _expression(column: _Column, alias: str, chosen: Profile) -> tuple[str, str]:
    """Return the expression for a column, and the join it needs; empty if it is left out."""
    name = column.name
    tag = keyword_tags().get(name)
    if name == "patient_key" or name in {"PatientID", "PatientName"}:
        return "p.new", ""
    if name in _UIDS:
        return f"{alias}.new", f'left join new_uids as {alias} on e."{name}" = {alias}.old'
    if name in _STAMPS:
        return _date_expression(f'e."{name}"', column.type, chosen), ""
    if name == "patient_age_years":
        # Of a null, least() is the other number.
        capped = "if(e.patient_age_years > 89, 90, e.patient_age_years)"
        return (capped, "") if "patient" in chosen.options else ("", "")
    if tag is None:
        return (_kept_expression(column), "") if name in _HARMLESS else ("", "")
    action = chosen.actions.get(tag)
    if action is None:
        return _kept_expression(column), ""
    if action.code == "U":
        return f"{alias}.new", f'left join new_uids as {alias} on e."{name}" = {alias}.old'
    if action.code == "C" and column.type in {"DATE", "TIME", "TIMESTAMP"}:
        return _date_expression(f'e."{name}"', column.type, chosen), ""
    if name == "PatientAge" and action.code == "C":
        # A text that is no age (PS3.5 6.2: nnnY) has no number of years, and may be one above 89.
        parsed = """if(e.patient_age_years is null, null, e."PatientAge")"""
        return f"if(e.patient_age_years > 89, '090Y', {parsed})", ""
    return "", ""


def _kept_expression(column: _Column) -> str:
    """Return the expression for a kept column: null where text has a name, an ID or a date."""
    name = f'e."{column.name}"'
    if column.type not in {"VARCHAR", "VARCHAR[]"}:
        return name
    text = name if column.type == "VARCHAR" else f"array_to_string({name}, chr(92))"
    lowered = f"lower({text})"
    contains_token = f"contains({lowered}, t) or contains(strip_accents({lowered}), t)"
    tokens_found = f"list_filter(p.tokens, lambda t: {contains_token})"
    # Files are searched for their own dates, rows for anything that may be a date.
    is_uid = elements().get(keyword_tags().get(column.name, 0), ("",))[0] == "UI"
    has_date = "false" if is_uid else f"regexp_matches({text}, {literal(_DAY)})"
    return f"if(len({tokens_found}) > 0 or {has_date}, null, {name})"


def _date_expression(name: str, kind: str, chosen: Profile) -> str:
    """Return the expression for a date: kept or shifted, empty if it is left out."""
    if "dates" in chosen.options or (kind == "TIME" and "dates-shifted" in chosen.options):
        return name
    if "dates-shifted" not in chosen.options:
        return ""
    shifted = f"{name} - to_days(cast(p.days as integer))"
    placeholders = ", ".join(literal(day) for day in PLACEHOLDERS)
    is_lost = " or ".join(
        f"strftime({day}, '%Y%m%d') in ({placeholders})" for day in (name, shifted)
    )
    is_lost += f" or year({name}) not between {FIRST_YEAR} and {LAST_YEAR}"
    return f"cast(if({is_lost}, null, {shifted}) as {kind})"
