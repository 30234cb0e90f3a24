"""What a row of ``entity_conflicts`` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from warehouse.sqlfiles import by_name

if TYPE_CHECKING:
    from tests.small_tables import View


@pytest.mark.acceptance("D41")
def test_values_that_differ_are_listed_in_order(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | study_key | patient_key | StudyDescription | PatientSex | EchoTime
        1.1          | 9          | 8         | P           | b                | F          | 1
        1.2          | 9          | 8         | P           | a                | F          | 2
        1.3          | 10         | 8         | P           | a                | F          | 1
    """,
    )
    view.expect(
        "entity_conflicts",
        """
        level  | entity_key | attribute        | value_count | values
        study  | 8          | StudyDescription | 2           | [a, b]
        series | 9          | EchoTime         | 2           | [1.0, 2.0]
    """,
    )


def test_a_missing_value_is_no_disagreement(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | study_key | patient_key | StudyDescription | ImageType
        1.1          | 9          | 8         | P           |                  |
        1.2          | 9          | 8         | P           | a                | [A, B]
    """,
    )
    view.expect(
        "entity_conflicts",
        """
        level
    """,
    )


def test_two_patients_of_one_study_are_a_conflict_of_the_study(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | study_key | patient_key | PatientID
        1.1          | 9          | 8         | A           | A
        1.2          | 10         | 8         | B           | B
    """,
    )
    view.expect(
        "entity_conflicts",
        """
        level | entity_key | attribute | values
        study | 8          | PatientID | [A, B]
    """,
    )


def test_every_attribute_of_an_entity_can_conflict(view: View) -> None:
    """Two instances that agree in nothing but their keys."""
    instances = by_name("instances")
    view.given("instances", "instance_key")
    for number in (1, 2):
        values = {
            column.name: {
                "VARCHAR": f"v{number}", "BIGINT": str(number), "DOUBLE": str(number),
                "DATE": f"2024-01-0{number}", "TIME": f"10:00:0{number}", "BOOLEAN": "true",
                "VARCHAR[]": f"[v{number}]", "DOUBLE[]": f"[{number}]", "BIGINT[]": f"[{number}]",
            }[column.type]
            for column in instances.columns
        } | {"series_key": "S", "study_key": "T", "patient_key": "P"}  # fmt: skip
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        view.connection.execute(
            f"insert into instances ({names}) values ({marks})", [*values.values()]
        )
    found = {(row[0], row[1]) for row in view.rows("entity_conflicts", ["level", "attribute"])}
    for level, key in (("series", "series"), ("studies", "study"), ("patients", "patient")):
        attributes = {c.name for c in by_name(level).columns if c.name[0].isupper()}
        identity = {
            "series": {"SeriesInstanceUID"},
            "study": {"StudyInstanceUID"},
            "patient": {"PatientID"},
        }
        wanted = attributes - identity[key]
        if key == "series":
            # What is shown is gathered from it: pulse_sequence_name.
            wanted = wanted - {"PulseSequenceName"} | {"pulse_sequence_name"}
        assert {attribute for of, attribute in found if of == key} == wanted
