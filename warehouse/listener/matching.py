r"""Translate keys of a DICOM query into conditions over columns (PS3.4 C.2.2.2).

In: the text of a key, the VR of its attribute and the type of the column that holds it. Out:
``Condition``: SQL with parameters, which the text of keys is passed as. How a single value matches
is defined in ``warehouse.catalog.matching``, also for QIDO-RS; this module adds what is specific to
C-FIND.

===================  ==========================================================================
empty, or only ``*``  universal: no condition
``\`` between values  any of them (the standard has this for UIDs only), or the whole text; of
                      PatientID the whole text, as `DOMAIN\1` is neither DOMAIN nor 1
``*`` and ``?``       any text, any character, in AE, CS, LO, LT, PN, SH, ST, UC, UR and UT
``a-b``, ``a-``, ``-b``  range of dates or times, both ends included
PN                    in upper or lower case; the whole name or one of its component groups; of
                      a key with several groups (``=``) each that is not empty
===================  ==========================================================================

A time without minutes or seconds means the whole hour or minute, also as an end of a range.
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
    """Parameters by their name in ``sql``."""


def condition(keyword: str, vr: str, column_type: str, key: str) -> Condition | None:
    r"""Return the condition of a key on the column of its name; None if it matches everything.

    Parameters
    ----------
    keyword
        Keyword of the attribute, which is the name of the column.
    vr, column_type
        Its VR, and the DuckDB type of the column: text, number, ``DATE``, ``TIME``, or a list.
    key
        Text of the key in the query.

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
    whole = "\\".join(keys)
    if keyword == "PatientID" or vr == "UI":
        keys = [whole]
    elif vr in {"LO", "SH"} and len(keys) > 1:
        keys.append(whole)
    if vr in WILDCARD_VRS and any(part and not part.strip("*") for part in keys):
        return None
    keys = [part for part in keys if part]
    if not keys:
        return None
    is_list, kind = column_type.endswith("[]"), column_type.removesuffix("[]")
    # A DuckDB lambda tests each value of a list.
    operand = "v" if is_list else f'"{keyword}"'
    binder = Binder(prefix=f"{keyword}_")
    if kind not in {"VARCHAR", "DATE", "TIME"}:
        vr = "DS"
    try:
        tests = [matches(operand, vr, part, binder) for part in keys]
    except UnknownFilter as error:
        raise KeyRefused(keyword, str(error)) from None
    predicate = f"({' or '.join(tests)})"
    if is_list:
        predicate = f'(len(list_filter("{keyword}", lambda v: {predicate})) > 0)'
    return Condition(predicate, binder.values)
