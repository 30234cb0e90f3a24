"""What a row of ``series`` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.small_tables import View


def test_instances_of_one_series_are_one_row(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | study_key | patient_key | pixel_offset | NumberOfFrames
        1.1          | 9          | 8         | P           | 100          |
        1.2          | 9          | 8         | P           | 100          | 10
        1.3          | 9          | 8         | P           |              | 7
        2.1          | 10         | 8         | P           |              |
    """,
    )
    view.expect(
        "series",
        """
        series_key | study_key | patient_key | instance_count | image_count | frame_count
        9          | 8         | P           | 3              | 2           | 11
        10         | 8         | P           | 1              | 0           | 0
    """,
    )


@pytest.mark.acceptance("D41")
def test_the_smallest_instance_with_a_value_decides(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | SeriesDescription | Modality | EchoTime | PixelSpacing
        1.3          | 9          | third             | CT       | 3        | [3, 3]
        1.2          | 9          | second            | MR       | 2        |
        1.1          | 9          |                   |          | 1        |
    """,
    )
    view.expect(
        "series",
        """
        series_key | SeriesDescription | Modality | EchoTime | PixelSpacing
        9          | second            | MR       | 1        | [3, 3]
    """,
    )


def test_a_directory_belongs_to_no_series(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key
        1.1          |
    """,
    )
    view.expect(
        "series",
        """
        series_key
    """,
    )


@pytest.mark.acceptance("D44")
@pytest.mark.parametrize(
    ("spacing", "thickness", "resolution"),
    [
        ("[0.48828125, 0.48828125]", "6", "[0.48828125, 0.48828125, 6]"),
        ("[0.5, 0.25]", "", "[0.5, 0.25]"),
        ("", "6", ""),
        ("", "", ""),
    ],
)
def test_spatial_resolution(view: View, spacing: str, thickness: str, resolution: str) -> None:
    view.given(
        "instances",
        f"""
        instance_key | series_key | PixelSpacing | SliceThickness
        1.1          | 9          | {spacing}    | {thickness}
    """,
    )
    view.expect(
        "series",
        f"""
        series_key | spatial_resolution_mm
        9          | {resolution}
    """,
    )


@pytest.mark.acceptance("D44")
def test_series_at_is_midnight_without_a_time_and_null_without_a_date(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | SeriesDate | SeriesTime
        1.1          | 1          | 2024-02-29 | 10:30:00.5
        1.2          | 2          | 2024-02-29 |
        1.3          | 3          |            | 10:30:00
        1.4          | 4          | 2024-02-29 |
        1.5          | 4          | 2024-03-01 | 10:00:00
    """,
    )
    view.expect(
        "series",
        """
        series_key | series_at
        1          | 2024-02-29 10:30:00.5
        2          | 2024-02-29 00:00:00
        3          |
        4          | 2024-02-29 00:00:00
    """,
    )


def test_a_missing_uid_in_one_instance_marks_the_series(view: View) -> None:
    view.given(
        "instances",
        """
        instance_key | series_key | has_missing_uid
        1.1          | 1          | false
        1.2          | 1          | true
        1.3          | 2          | false
    """,
    )
    view.expect(
        "series",
        """
        series_key | has_missing_uid
        1          | true
        2          | false
    """,
    )


@pytest.mark.parametrize(
    ("stated", "tesla"),
    # PS3.3 C.8.3.1: nominal field strength in tesla; some scanners write gauss.
    [(1.5, 1.5), (15000, 1.5), (30000, 3.0), (0.35, 0.35), (0, None), (-1, None), (1e9, None), (None, None)],
)  # fmt: skip
def test_a_field_strength_is_in_tesla(
    view: View, stated: float | None, tesla: float | None
) -> None:
    view.given("instances", f"""
        instance_id | instance_key | series_key | MagneticFieldStrength
        1           | a            | s          | {"" if stated is None else stated}
    """)  # fmt: skip
    columns = ["MagneticFieldStrength", "magnetic_field_strength_t"]
    assert view.rows("series", columns) == [(stated, tesla)]


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("SIEMENS", "Siemens"), ("Siemens Healthineers", "Siemens"), ("GE MEDICAL SYSTEMS", "GE"),
        ("GEMS", "GE"), ("Philips Medical Systems", "Philips"), ("TOSHIBA_MEC", "Canon"),
        ("CANON_MEC", "Canon"), ("UIH", "UIH"), ("Geiger Inc", "Geiger Inc"), ("", None),
    ],
)  # fmt: skip
def test_a_maker_has_one_name(view: View, stated: str, name: str | None) -> None:
    view.given("instances", "instance_id | instance_key | series_key\n1 | a | s")
    view.connection.execute("update instances set Manufacturer = $1", [stated])
    assert view.rows("series", ["Manufacturer", "manufacturer_name"]) == [(stated, name)]
