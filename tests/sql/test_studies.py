"""What a row of ``studies`` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.small_tables import View


def test_counts(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | study_key | patient_key | Modality
        1.1          | 9          | 8         | P           | MR
        1.2          | 9          | 8         | P           | MR
        1.3          | 10         | 8         | P           | CT
        2.1          | 11         | 7         | P           |
    """,
    )
    view.expect(
        "studies",
        """
        study_key | patient_count | series_count | instance_count | modalities
        8         | 1             | 2            | 3              | [CT, MR]
        7         | 1             | 1            | 1              |
    """,
    )


@pytest.mark.acceptance("D42")
def test_a_study_of_two_patients_counts_both_and_names_the_first(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | study_key | patient_key | PatientID
        1.2          | 10         | 8         | A           | A
        1.1          | 9          | 8         | B           | B
    """,
    )
    view.expect(
        "studies",
        """
        study_key | patient_count | patient_key | PatientID
        8         | 2             | B           | B
    """,
    )


def test_the_smallest_instance_with_a_value_decides(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | study_key | StudyDescription | StudyDate  | AccessionNumber
        1.1          | 8         |                  | 2024-01-02 |
        1.3          | 8         | third            | 2024-01-03 | C
        1.2          | 8         | second           | 2024-01-04 |
    """,
    )
    view.expect(
        "studies",
        """
        study_key | StudyDescription | StudyDate  | AccessionNumber
        8         | second           | 2024-01-02 | C
    """,
    )


def test_study_at(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | study_key | StudyDate  | StudyTime
        1.1          | 1         | 2024-02-29 | 23:59:59.999999
        1.2          | 2         | 2024-02-29 |
        1.3          | 3         |            | 10:00:00
        1.4          | 4         | 2024-02-29 |
        1.5          | 4         | 2024-03-01 | 10:00:00
        1.6          | 5         | 2024-02-29 |
        1.7          | 5         | 2024-02-29 | 10:00:00
    """,
    )
    # No instance states that the study was at ten o'clock of the day before.
    view.expect(
        "studies",
        """
        study_key | study_at
        1         | 2024-02-29 23:59:59.999999
        2         | 2024-02-29 00:00:00
        3         |
        4         | 2024-02-29 00:00:00
        5         | 2024-02-29 10:00:00
    """,
    )
