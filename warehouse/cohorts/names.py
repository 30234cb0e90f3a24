"""Names of exported files, from a template and untrusted attributes.

In: a template such as ``{PatientID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm``. Out: a relative
path that stays inside its folder on every file system and is unique for each instance.

In a value, every character except ASCII letters, digits, ``-``, ``_`` and ``.`` is replaced. If
this changes the value, or if the value has capitals, a digest of the value is appended, so that two
values never get the same name. The UID of the instance, in which every template must end, makes the
whole path unique.
"""

from __future__ import annotations

import hashlib
import re
import string
from typing import TYPE_CHECKING

from warehouse.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality",
    "SeriesNumber", "SeriesDescription", "StudyDate", "InstanceNumber",
)  # fmt: skip
TEMPLATE = "{PatientID}/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|cohort\.json|manifest\.csv", re.IGNORECASE
)
"""Windows device names, and names of files that every export adds."""
LONGEST = 80


def check_template(template: str) -> str:
    """Check a template and return it.

    Raises
    ------
    UsageError
        It has an unknown field, leaves its folder, or has no ``{SOPInstanceUID}`` in its last part.
    """
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"template: {error}") from None
    for _, field, form, conversion in parsed:
        if field is not None and (field not in FIELDS or form or conversion):
            raise UsageError(f"template: unknown field {{{field}}}; known: {', '.join(FIELDS)}")
    parts = template.split("/")
    if any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
        raise UsageError("template: must be a relative path without empty parts, . and ..")
    if "{SOPInstanceUID}" not in parts[-1]:
        raise UsageError(
            "template: its last part needs {SOPInstanceUID}, else two files share a name"
        )
    return template


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the path of one instance.

    >>> fill("{PatientID}/{SOPInstanceUID}.dcm", {"PatientID": "7", "SOPInstanceUID": "1.2"})
    '7/1.2.dcm'
    """
    names = {field: safe_name(values[field]) for field in FIELDS if field in values}
    return template.format_map(names)


def safe_name(value: str) -> str:
    """Return a safe file name for a value: the value itself, else a cleaned one with a digest.

    >>> safe_name("1.2.840")
    '1.2.840'
    >>> safe_name("../x").startswith("x~")
    True
    """
    if _UID.fullmatch(value) and len(value) <= LONGEST:
        return value
    cleaned = _UNSAFE.sub("_", value).strip("._-")[:LONGEST] or "unnamed"
    # Without capitals: `p1` and `P1` are the same name on some file systems.
    if cleaned == value and value == value.lower() and not _RESERVED.fullmatch(value):
        return value
    return f"{cleaned}~{hashlib.sha256(value.encode()).hexdigest()[:12]}"
