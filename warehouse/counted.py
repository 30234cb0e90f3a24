"""Write numbers with their nouns, in singular or plural."""

from __future__ import annotations


def counted(count: int, noun: str, many: str = "") -> str:
    """Return a number with its noun in singular or plural.

    >>> counted(1, "file"), counted(1200, "series", "series"), counted(2, "batch", "batches")
    ('1 file', '1,200 series', '2 batches')
    """
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


_ONE = {"patients": "patient", "studies": "study", "series": "series", "instances": "instance"}


def counted_level(count: int, level: str) -> str:
    """Return a number of patients, studies, series or instances.

    >>> counted_level(1, "studies")
    '1 study'
    """
    return counted(count, _ONE[level], level)
