"""Define ``Refused``, the reason why a series is not in a data set."""

from __future__ import annotations


class Refused(Exception):
    """A series has no file in the data set; its reason becomes a row of ``series.tsv``."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)
