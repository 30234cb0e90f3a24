"""What a row of ``patients`` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.small_tables import View


@pytest.mark.acceptance("D43")
def test_counts(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | study_key | patient_key
        1.1          | 9          | 8         | P
        1.2          | 9          | 8         | P
        1.3          | 10         | 7         | P
        2.1          | 11         | 6         | Q
    """,
    )
    view.expect(
        "patients",
        """
        patient_key | study_count | series_count | instance_count
        P           | 2           | 2            | 3
        Q           | 1           | 1            | 1
    """,
    )


@pytest.mark.acceptance("D43")
def test_latest_study_at(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | patient_key | study_key | StudyDate  | StudyTime
        1.1          | P           | 1         | 2024-01-02 | 10:00:00
        1.2          | P           | 2         | 2024-01-02 | 11:00:00
        1.3          | P           | 3         | 2023-12-31 | 12:00:00
        1.4          | P           | 4         |            | 13:00:00
        2.1          | Q           | 5         | 2024-01-02 |
        3.1          | R           | 6         |            |
    """,
    )
    view.expect(
        "patients",
        """
        patient_key | latest_study_at
        P           | 2024-01-02 11:00:00
        Q           | 2024-01-02 00:00:00
        R           |
    """,
    )


def test_the_smallest_instance_with_a_value_decides(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | patient_key | PatientBirthDate | PatientSex
        1.1          | P           |                  | F
        1.2          | P           | 1990-01-02       | M
        1.3          | P           | 1990-01-03       | M
    """,
    )
    view.expect(
        "patients",
        """
        patient_key | PatientBirthDate | PatientSex
        P           | 1990-01-02       | F
    """,
    )


def test_the_parts_of_a_name_are_those_of_the_name_that_is_shown(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | patient_key | PatientName | family_name | given_name | middle_name
        1.1          | P           | Doe         | Doe         |            |
        1.2          | P           | Roe^Jane^Q  | Roe         | Jane       | Q
    """,
    )
    view.expect(
        "patients",
        """
        patient_key | PatientName | family_name | given_name | middle_name | full_name
        P           | Doe         | Doe         |            |             | Doe
    """,
    )


def test_full_name(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | patient_key | PatientName | family_name | given_name
        1.1          | P           | Doe^Jane    | Doe         | Jane
        1.2          | Q           | ^Jane       |             | Jane
        1.3          | R           |             |             |
    """,
    )
    view.expect(
        "patients",
        """
        patient_key | full_name
        P           | Jane Doe
        Q           | Jane
        R           |
    """,
    )
