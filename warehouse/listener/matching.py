r"""Translate keys of a DICOM query into conditions over columns (PS3.4 C.2.2.2).

In: the text of a key, the VR of its attribute and the type of the column that holds it. Out:
``Condition``, SQL with parameters; no text of a key becomes SQL. How one value matches is said by
``warehouse.catalog.matching``, for QIDO-RS too; here is what only the keys of C-FIND have.

===================  ==========================================================================
empty, or only ``*``  universal: no condition
``\`` between values  any of them (of UIDs by the standard; of other values, too)
``*`` and ``?``       any text, any character, in AE, CS, LO, LT, PN, SH, ST, UC, UR and UT
``a-b``, ``a-``, ``-b``  range of dates or times, both ends included
PN                    in upper or lower case; the whole name or one of its component groups
===================  ==========================================================================

A time that states hours or minutes only covers all of them, alone and as an end of a range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from warehouse.catalog.matching import Binder, trimmed
from warehouse.catalog.matching import condition as matches
from warehouse.errors import UnknownFilter

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})


class KeyRefused(ValueError):
    """A key is invalid for its attribute; the message does not quote the value."""

    def __init__(self, keyword: str, why: str) -> None:
        super().__init__(f"{keyword}: {why}")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a row."""

    sql: str
    values: dict[str, Any]
    """Parameters by the name under which ``sql`` has them."""


def condition(keyword: str, vr: str, column_type: str, key: str) -> Condition | None:
    r"""Return the condition that a key puts on a column of its name, None if it matches all.

    Parameters
    ----------
    keyword
        Keyword of the attribute, which is the name of the column.
    vr, column_type
        Its VR, and the DuckDB type of the column: text, number, ``DATE``, ``TIME``, or a list.
    key
        Text as the query has it.

    Raises
    ------
    KeyRefused

    Examples
    --------
    >>> condition("StudyDate", "DA", "DATE", "20260101-").sql
    '(("StudyDate" >= $StudyDate_0))'
    >>> condition("Modality", "CS", "VARCHAR", r"CT\MR").values
    {'Modality_0': 'CT', 'Modality_1': 'MR'}
    >>> condition("PatientName", "PN", "VARCHAR", "*") is None
    True
    """
    keys = [trimmed(vr, part) for part in key.split("\\")]
    if vr in WILDCARD_VRS and any(part and not part.strip("*") for part in keys):
        return None
    keys = [part for part in keys if part]
    if not keys:
        return None
    is_list, kind = column_type.endswith("[]"), column_type.removesuffix("[]")
    # A DuckDB lambda tests each value of a list.
    of = "v" if is_list else f'"{keyword}"'
    binder = Binder(prefix=f"{keyword}_")
    if kind not in {"VARCHAR", "DATE", "TIME"}:
        vr = "DS"
    try:
        tests = [matches(of, vr, part, binder) for part in keys]
    except UnknownFilter as error:
        raise KeyRefused(keyword, str(error)) from None
    holds = f"({' or '.join(tests)})"
    if is_list:
        holds = f'(len(list_filter("{keyword}", lambda v: {holds})) > 0)'
    return Condition(holds, binder.values)
