"""Execute a search and return the matches as DICOM JSON.

In: ``Search`` and a version. Out: a JSON object per match, as text, and whether there are more.
Attributes that are always returned come from the index of the version, others from the long table.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from warehouse.catalog.few import session_about
from warehouse.catalog.json_models import PLACE, models
from warehouse.dicom.dictionary import keyword_tags
from warehouse.server.index import INSTANCE_TAGS, OFTEN_TAGS, SERIES_TAGS, STUDY_TAGS
from warehouse.server.qido import Search, Tables, conditions
from warehouse.server.serving import fetched

if TYPE_CHECKING:
    from warehouse.server.serving import Version

_OF_STUDY = (
    "s.study_key, s.holder, s.ModalitiesInStudy, s.SOPClassesInStudy, "
    "s.NumberOfStudyRelatedSeries, s.NumberOfStudyRelatedInstances"
)
_BY_STUDY = "s.StudyDate desc nulls last, s.StudyTime desc nulls last, s.study_key, s.found_under"
_PATIENT = ("PatientName", "IssuerOfPatientID", "PatientBirthTime", "OtherPatientIDs",
            "OtherPatientNames", "EthnicGroup", "PatientComments", "QualityControlSubject",
            "PatientSpeciesDescription", "PatientBreedDescription", "ResponsiblePerson",
            "PatientIdentityRemoved", "DeidentificationMethod")  # fmt: skip
_STUDY = ("ConsultingPhysicianName", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
          "ReferencedStudySequence", "ProcedureCodeSequence", "AdmittingDiagnosesDescription",
          "PatientAge", "PatientSize", "PatientWeight", "Occupation", "AdditionalPatientHistory",
          "MedicalAlerts", "Allergies", "SmokingStatus", "PregnancyStatus", "PatientState",
          "AdmissionID", "InstitutionName", "InstitutionAddress")  # fmt: skip
_SERIES = ("Laterality", "ProtocolName", "PerformingPhysicianName", "OperatorsName",
           "BodyPartExamined", "PatientPosition", "Manufacturer", "InstitutionName",
           "StationName", "InstitutionalDepartmentName", "ManufacturerModelName",
           "DeviceSerialNumber", "SoftwareVersions", "FrameOfReferenceUID",
           "PerformedProcedureStepID", "PerformedProcedureStepDescription",
           "PositionReferenceIndicator",
           "AnatomicRegionSequence", "ReferencedPerformedProcedureStepSequence")  # fmt: skip
"""Attributes of patient, study and series that ``includefield=all`` adds."""


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a search."""

    keys: list[tuple[str, ...]]
    """Keys of study, series and instance of each row."""
    rows: list[str]
    """Each row as a JSON object."""
    has_more: bool


def search(version: Version, query: Search, base: str) -> Found:
    """Run a search.

    Parameters
    ----------
    version
        Version to search.
    query
        The search.
    base
        URL of the service, for ``RetrieveURL``.

    Raises
    ------
    UnknownFilter, TookTooLong
    """
    version.index.make()
    statement = conditions(query, _tables(version))
    where = f"where {' and '.join(statement.where)}" if statement.where else ""
    page = f"limit {query.limit + 1} offset {query.offset}"
    sql = f"{_SOURCES[query.level]} {where} order by {_ORDERS[query.level]} {page}"
    rows = fetched(version.catalog, sql, statement.binder.values)
    has_more, rows = len(rows) > query.limit, rows[: query.limit]
    to_json = {
        "studies": _study_objects,
        "series": _series_objects,
        "instances": _instance_objects,
    }[query.level]
    keys, texts = to_json(version, rows, query, base)
    return Found(keys, texts, has_more)


_SOURCES = {
    "studies": f"select {_OF_STUDY} from qido_studies as s",
    "series": (
        f"select {_OF_STUDY}, e.series_key, e.holder, e.NumberOfSeriesRelatedInstances "
        "from qido_series as e join qido_studies as s using (study_key, found_under)"
    ),
    "instances": (
        f"select {_OF_STUDY}, e.series_key, e.holder, e.NumberOfSeriesRelatedInstances, "
        "i.instance_key, i.instance_id from instances as i "
        "join qido_patients as p on i.study_key = p.study_key and i.patient_key = p.patient_key "
        "join qido_series as e on i.series_key = e.series_key and p.study_key = e.study_key "
        "and p.found_under = e.found_under "
        "join qido_studies as s on p.study_key = s.study_key and p.found_under = s.found_under"
    ),
}
_ORDERS = {
    "studies": _BY_STUDY,
    "series": f"{_BY_STUDY}, e.SeriesNumber nulls last, e.series_key",
    "instances": (
        f"{_BY_STUDY}, e.SeriesNumber nulls last, e.series_key, "
        "i.InstanceNumber nulls last, i.instance_key"
    ),
}


def _tables(version: Version) -> Tables:
    """Return the columns that can be matched."""
    known = keyword_tags()
    connection = version.catalog.connection

    def described(table: str) -> dict[str, bool]:
        rows = connection.execute(f"describe {table}").fetchall()
        return {row[0]: row[1].endswith("[]") for row in rows if row[0] in known}

    columns = version.catalog.model("instances").columns
    instances = {c.name: c.type.endswith("[]") for c in columns if c.name in known}
    return Tables(described("qido_studies"), described("qido_series"), instances)


def _study_objects(
    version: Version, rows: list[tuple[object, ...]], query: Search, base: str
) -> tuple[list[tuple[str, ...]], list[str]]:
    extra = _extra(version, [row[1] for row in rows], query, (*_PATIENT, *_STUDY), STUDY_TAGS)
    keys: list[tuple[str, ...]] = []
    texts = []
    for row in rows:
        study, holder = str(row[0]), int(row[1])  # type: ignore[call-overload]
        address = f"{base}/studies/{quote(study, safe='')}"
        texts.append(_object(
            version.index.study(holder), _computed_elements(row), extra.get(holder, ""),
            f'"00081190":{{"vr":"UR","Value":[{json.dumps(address)}]}}',
        ).replace(PLACE, address))  # fmt: skip
        keys.append((study,))
    return keys, texts


def _series_objects(
    version: Version, rows: list[tuple[object, ...]], query: Search, base: str
) -> tuple[list[tuple[str, ...]], list[str]]:
    keywords = (*_PATIENT, *_STUDY, *_SERIES)
    extra = _extra(version, [row[7] for row in rows], query, keywords, (*STUDY_TAGS, *SERIES_TAGS))
    keys: list[tuple[str, ...]] = []
    texts = []
    for row in rows:
        study, series, holder = str(row[0]), str(row[6]), int(row[7])  # type: ignore[call-overload]
        address = f"{base}/studies/{quote(study, safe='')}/series/{quote(series, safe='')}"
        texts.append(_object(
            version.index.study(int(row[1])), _computed_elements(row),  # type: ignore[call-overload]
            version.index.series(holder), _int_element("00201209", row[8]), extra.get(holder, ""),
            f'"00081190":{{"vr":"UR","Value":[{json.dumps(address)}]}}',
        ).replace(PLACE, address))  # fmt: skip
        keys.append((study, series))
    return keys, texts


def _instance_objects(
    version: Version, rows: list[tuple[object, ...]], query: Search, base: str
) -> tuple[list[tuple[str, ...]], list[str]]:
    ids = [int(row[10]) for row in rows]  # type: ignore[call-overload]
    tags = (*STUDY_TAGS, *SERIES_TAGS, *INSTANCE_TAGS, *query.include, *_matched_tags(query))
    members = models(session_about(version.catalog, ids), ids, () if query.includes_all else tags)
    keys: list[tuple[str, ...]] = []
    texts = []
    for row, instance_id in zip(rows, ids, strict=True):
        study, series, instance = str(row[0]), str(row[6]), str(row[9])
        address = instance_address(base, study, series, instance)
        texts.append(_object(
            members.get(instance_id, ""), _computed_elements(row), _int_element("00201209", row[8]),
            f'"00081190":{{"vr":"UR","Value":[{json.dumps(address)}]}}',
        ).replace(PLACE, address))  # fmt: skip
        keys.append((study, series, instance))
    return keys, texts


def instance_address(base: str, *keys: str) -> str:
    """Return the URL of an instance."""
    study, series, instance = (quote(key, safe="") for key in keys)
    return f"{base}/studies/{study}/series/{series}/instances/{instance}"


def _extra(
    version: Version, holders: list[object], query: Search, keywords: tuple[str, ...],
    always: tuple[str, ...],
) -> dict[int, str]:  # fmt: skip
    """Return the requested attributes that are not always returned, as JSON by instance."""
    of_level = _tags_of(keywords)
    # An attribute of a lower level is that of one instance, which need not be one that matched.
    wanted = {*query.include, *(_matched_tags(query) & of_level)}
    wanted = (wanted | of_level if query.includes_all else wanted) - {*always}
    wanted -= {"00080056", "00080061", "00080062", "00081190", "00201206", "00201208", "00201209"}
    if not wanted:
        return {}
    if wanted == {*OFTEN_TAGS} and query.level == "studies":
        return version.index.often
    ids = [int(holder) for holder in holders]  # type: ignore[call-overload]
    return models(session_about(version.catalog, ids), ids, sorted(wanted))


def _matched_tags(query: Search) -> set[str]:
    """Return the top-level tags of the keys, which are returned, too (PS3.18 10.6.3.3)."""
    tags = {key.path[0] if key.path else key.tag for key in query.keys}
    creators = {f"{k.tag[:4]}00{k.tag[4:6]}" for k in query.keys if k.creator and not k.path}
    return tags | creators


@cache
def _tags_of(keywords: tuple[str, ...]) -> frozenset[str]:
    return frozenset(f"{keyword_tags()[keyword]:08X}" for keyword in keywords)


def _computed_elements(row: tuple[object, ...]) -> str:
    lists = [("00080061", "CS", row[2]), ("00080062", "UI", row[3])]
    return ",".join([
        '"00080056":{"vr":"CS","Value":["ONLINE"]}',
        *(f'"{tag}":{{"vr":"{vr}","Value":{json.dumps(v)}}}' for tag, vr, v in lists if v),
        _int_element("00201206", row[4]), _int_element("00201208", row[5]),
    ])  # fmt: skip


def _int_element(tag: str, value: object) -> str:
    return f'"{tag}":{{"vr":"IS","Value":[{value}]}}'


def _object(*members: str) -> str:
    return "{" + ",".join(member for member in members if member) + "}"
