"""Index the studies and series of one version, for matching and returning by QIDO-RS.

In: a catalog. Out: the in-memory tables `qido_studies` and `qido_series`, and the JSON of the
attributes that are always returned. It is built at the first query of a version, from the headers
of one instance per study and series, so results equal the ``/metadata`` of that instance. What this
instance does not state is that of the first one that does, as in `studies` and `series`.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING

from warehouse.catalog.json_models import PLACE, models
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
"""Tags that are always returned of each level: PS3.18 10.6.3.3, descriptions and dates."""


class StudyIndex:
    """Index of one version for QIDO-RS."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._build_lock = threading.Lock()
        self._is_built = False
        self.often: dict[int, str] = {}
        """JSON of ``OFTEN_TAGS``, which OHIF always requests, by first instance of a study."""
        self._studies: dict[int, str] = {}
        self._series: dict[int, str] = {}

    def make(self) -> None:
        """Create the tables once, without a time limit; other requests wait."""
        with self._build_lock, unbounded():
            if self._is_built:
                return
            connection = self._catalog.session()
            connection.execute(statement("study_index", "dicomweb"))
            connection.execute(statement("series_index", "dicomweb"))
            holders = connection.execute("select holder from qido_studies").fetchall()
            self.often = models(connection, [row[0] for row in holders], OFTEN_TAGS)
            self._studies = self._json_members(connection, "studies", "study", STUDY_TAGS)
            self._series = self._json_members(connection, "series", "series", SERIES_TAGS)
            self._is_built = True

    def _json_members(
        self, connection: duckdb.DuckDBPyConnection, table: str, level: str, tags: tuple[str, ...]
    ) -> dict[int, str]:
        """Return the attributes of all studies or series as JSON members, by first instance."""
        uid = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}[level]
        # One of several values would be the UID of another study or series, or of none.
        is_uid = f"coalesce({uid}, '') = {level}_key and not contains({level}_key, chr(92))"
        sql = f"select holder, {level}_key, {is_uid} from qido_{table}"
        rows = connection.execute(sql).fetchall()
        members = models(connection, [row[0] for row in rows], tags)
        self._fill_missing(connection, f"{level}_holders", members)
        tag = {"study": "0020000D", "series": "0020000E"}[level]
        for holder, key, is_uid in rows:
            if not is_uid:
                # Without one UID, return the key, by which the entity is requested.
                others = re.sub(rf',?"{tag}":{{"vr":"UI"[^}}]*}}', "", members.get(holder, ""))
                uid_member = f'"{tag}":{{"vr":"UI","Value":[{json.dumps(key)}]}}'
                members[holder] = ",".join(part for part in (others.strip(","), uid_member) if part)
        return members

    def _fill_missing(
        self, connection: duckdb.DuckDBPyConnection, name: str, members: dict[int, str]
    ) -> None:
        """Add the attributes that only instances other than the first one have a value of."""
        others: dict[str, dict[int, int]] = {}
        for holder, tag, other in connection.execute(statement(name, "dicomweb")).fetchall():
            others.setdefault(tag, {})[holder] = other
        for tag, by_holder in others.items():
            found = models(connection, [*by_holder.values()], [tag])
            for holder, other in by_holder.items():
                # A text that could not be parsed has no value in a column, but is returned.
                attributes = json.loads(f"{{{members.get(holder, '')}}}", strict=False)
                if other in found and "Value" not in attributes.get(tag, {}):
                    attributes.pop(tag, None)
                    kept = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))[1:-1]
                    kept = kept.replace(json.dumps(PLACE)[1:-1], PLACE)
                    members[holder] = ",".join(part for part in (kept, found[other]) if part)

    def study(self, holder: int) -> str:
        """Return the attributes of a study as members of a JSON object, by its first instance."""
        return self._studies.get(holder, "")

    def series(self, holder: int) -> str:
        """Return the attributes of a series as members of a JSON object, by its first instance."""
        return self._series.get(holder, "")
