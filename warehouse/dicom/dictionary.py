"""The dictionaries of pydicom, loaded from its two data files without importing pydicom.

Importing pydicom takes most of a second, as it imports every installed pixel decoder. A process
that only runs SQL needs just names and tags.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

LEADING_SPACES = frozenset({"ST", "LT", "UT", "UC"})
"""Text VRs in which leading spaces are significant; in all others they are not."""


@cache
def keyword_tags() -> dict[str, int]:
    """Return keyword → tag, without repeating groups.

    >>> f"{keyword_tags()['SliceThickness']:08X}"
    '00180050'
    """
    return {row[4]: tag for tag, row in elements().items()}


def elements() -> dict[int, tuple[str, str, str, str, str]]:
    """Return VR, VM, name, whether it is retired, and keyword, by tag."""
    found: dict[int, tuple[str, str, str, str, str]] = _data("_dicom_dict").DicomDictionary
    return found


def repeaters() -> dict[str, tuple[str, str, str, str, str]]:
    """Return the same for repeating groups, by a tag with ``x`` for the varying digits."""
    found: dict[str, tuple[str, str, str, str, str]] = _data("_dicom_dict").RepeatersDictionary
    return found


def private_elements() -> dict[str, dict[str, tuple[str, str, str, str]]]:
    """Return VR, VM, name and whether it is retired, by private creator and tag."""
    found: dict[str, dict[str, tuple[str, str, str, str]]]
    found = _data("_private_dict").private_dictionaries
    return found


def uids() -> dict[str, tuple[str, str, str, str, str]]:
    """Return name, kind, addition, whether it is retired, and keyword, by UID of PS3.6."""
    found: dict[str, tuple[str, str, str, str, str]] = _data("_uid_dict").UID_dictionary
    return found


@cache
def _data(name: str) -> Any:
    package = importlib.util.find_spec("pydicom")
    if "pydicom" in sys.modules or package is None or package.origin is None:
        return importlib.import_module(f"pydicom.{name}")
    file = Path(package.origin).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"warehouse.dicom.{name}", file)
    if spec is None or spec.loader is None:
        return importlib.import_module(f"pydicom.{name}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
