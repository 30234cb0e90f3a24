"""Studies and series of one version, as QIDO-RS and C-FIND match and show them.

In: a catalog. Out: the tables `qido_studies` and `qido_series` in the memory of its database, and
the JSON of the attributes that every answer has. Made at the first question to a version: headers
of one instance per study and series are read from the long table, so that an answer is what
``/metadata`` says of that instance.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING

from warehouse.catalog.json_models import models
from warehouse.server.limits import unbounded
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    import duckdb

    from warehouse.catalog.connect import Catalog

STUDY_TAGS = (
    "00080020", "00080030", "00080050", "00080090", "00080201", "00081030", "00100010",
    "00100020", "00100030", "00100040", "0020000D", "00200010",
)  # fmt: skip
SERIES_TAGS = (
    "00080021", "00080031", "00080060", "00080201", "0008103E", "0020000E", "00200011",
    "00400244", "00400245", "00400275",
)  # fmt: skip
OFTEN_TAGS = ("00080060",)
INSTANCE_TAGS = (
    "00080016", "00080018", "00080201", "00200013", "00280008", "00280010", "00280011",
    "00280100",
)  # fmt: skip
"""What an answer has of each level (PS3.18 10.6.3.3), and descriptions and dates, for lists."""


class StudyIndex:
    """What QIDO-RS asks of one version."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._making = threading.Lock()
        self._is_made = False
        self.often: dict[int, str] = {}
        """Of each study what OHIF asks for besides in every search, by its first instance."""
        self._studies: dict[int, str] = {}
        self._series: dict[int, str] = {}

    def make(self) -> None:
        """Create the tables once, without a time limit; other requests wait."""
        with self._making, unbounded():
            if self._is_made:
                return
            connection = self._catalog.session()
            connection.execute(statement("study_index", "dicomweb"))
            connection.execute(statement("series_index", "dicomweb"))
            held = connection.execute("select holder from qido_studies").fetchall()
            self.often = models(connection, [row[0] for row in held], OFTEN_TAGS)
            self._studies = self._shown(connection, "studies", "study", STUDY_TAGS)
            self._series = self._shown(connection, "series", "series", SERIES_TAGS)
            self._is_made = True

    def _shown(
        self, connection: duckdb.DuckDBPyConnection, table: str, level: str, tags: tuple[str, ...]
    ) -> dict[int, str]:
        """Return what is shown of every study or series, by its first instance."""
        uid = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}[level]
        asked = f"select holder, {level}_key, coalesce({uid}, '') = {level}_key from qido_{table}"
        held = connection.execute(asked).fetchall()
        shown = models(connection, [row[0] for row in held], tags)
        tag = {"study": "0020000D", "series": "0020000E"}[level]
        for holder, key, is_uid in held:
            if not is_uid:
                # Without a UID the study is found by its key, which no header contains.
                stated = re.sub(rf',?"{tag}":{{"vr":"UI"[^}}]*}}', "", shown.get(holder, ""))
                named = f'"{tag}":{{"vr":"UI","Value":[{json.dumps(key)}]}}'
                shown[holder] = ",".join(part for part in (stated.strip(","), named) if part)
        return shown

    def study(self, holder: int) -> str:
        """Return the attributes of a study as members of a JSON object, by its first instance."""
        return self._studies.get(holder, "")

    def series(self, holder: int) -> str:
        """Return those of a series."""
        return self._series.get(holder, "")
