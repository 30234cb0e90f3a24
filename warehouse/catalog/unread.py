"""Explain why a query about elements returns nothing, or less than the files contain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

_PRIVATE = re.compile(
    r"\bprivate\s*\(|\b(private_names|siemens_private|vendor_(elements|payloads|values))\b",
    re.IGNORECASE,
)


def asks_for_private_elements(query: str) -> bool:
    """Return whether a query reads private elements.

    >>> asks_for_private_elements("from private('GEMS_ACQU_01', '0x9c')")
    True
    """
    return bool(_PRIVATE.search(query))


def why_no_private_elements(catalog: Catalog) -> str:
    """Return why private elements are missing or incomplete; empty if there is no such reason."""
    found = catalog.connection.execute(
        "select mode, count(*) from files where status = 'ingested' group by all"
    ).fetchall()
    counts: dict[str, int] = dict(found)
    total = sum(counts.values())
    without = total - counts.get("full", 0)
    if without:
        return (
            f"{without:,} of {total:,} {'file was' if total == 1 else 'files were'} read without "
            "private elements (mode "
            f"{' or '.join(sorted(mode for mode in counts if mode != 'full'))}); read them with: "
            "dicom-warehouse ingest SOURCE --mode full"
        )
    sql = "select 1 from elements where instr('13579BDF', tag[4]) > 0 limit 1"
    if not catalog.connection.execute(sql).fetchall():
        return f"none of the {total:,} files has private elements" if total else "no file is stored"
    return ""


def why_no_elements(catalog: Catalog) -> str:
    """Return how many files were read without any element; empty if none was."""
    sql = "select count(*) filter (mode = 'minimal'), count(*) from files where status = 'ingested'"
    ((without, total),) = catalog.connection.execute(sql).fetchall()
    if not without:
        return ""
    return (
        f"elements of {without:,} of {total:,} files were not stored (mode minimal); read them "
        "with: dicom-warehouse ingest SOURCE --mode full"
    )


def vendor_names(catalog: Catalog, like: str) -> list[str]:
    """Return names in vendor payloads, such as CSA headers, that contain a text, ignoring case."""
    found = catalog.connection.execute(
        "select distinct name from vendor_values where contains(lower(name), lower($1)) "
        "and name != '' order by len(name), name limit 3",
        [like],
    )
    return [name for (name,) in found.fetchall()]
