"""What a row of ``diffusion_frames`` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.small_tables import View

OWN = "PerFrameFunctionalGroupsSequence"
SHARED = "SharedFunctionalGroupsSequence[0].MRDiffusionSequence[0]"
ONE_IMAGE = """
    instance_id | series_key | ImageOrientationPatient
    1           | s          | [0, 1, 0, 0, 0, -1]
"""


def test_a_frame_has_its_own_value_or_the_shared_one_or_that_of_the_object(view: View) -> None:
    view.given(
        "instances",
        """
        instance_id | series_key | NumberOfFrames | pixel_length
        1           | s          | 2              | 100
        2           | s          | 3              | 100
        3           | t          |                | 100
    """,
    )
    own = f"{OWN}[1].MRDiffusionSequence[0]"
    view.given(
        "elements",
        f"""
        instance_id | path                                         | tag      | vm | index | integer | real
        1           | ''                                           | 52009230 | 1  | 0     | 2       |
        1           | {SHARED}                                     | 00189087 | 1  | 0     |         | 50
        1           | {own}                                        | 00189087 | 1  | 0     |         | 700
        1           | {own}.DiffusionGradientDirectionSequence[0]  | 00189089 | 3  | 0     |         | 0
        1           | {own}.DiffusionGradientDirectionSequence[0]  | 00189089 | 3  | 1     |         | 0.6
        1           | {own}.DiffusionGradientDirectionSequence[0]  | 00189089 | 3  | 2     |         | -0.8
        1           | {own}.DiffusionBMatrixSequence[0]            | 00189602 | 1  | 0     |         | 1
        1           | {own}.DiffusionBMatrixSequence[0]            | 00189603 | 1  | 0     |         | 2
        1           | {own}.DiffusionBMatrixSequence[0]            | 00189604 | 1  | 0     |         | 3
        1           | {own}.DiffusionBMatrixSequence[0]            | 00189605 | 1  | 0     |         | 4
        1           | {own}.DiffusionBMatrixSequence[0]            | 00189606 | 1  | 0     |         | 5
        1           | {own}.DiffusionBMatrixSequence[0]            | 00189607 | 1  | 0     |         | 6
        1           | {OWN}[0].2005140F[0]                         | 00189087 | 1  | 0     |         | 99
        2           | ''                                           | 00189087 | 1  | 0     |         | 30
        3           | ''                                           | 00189087 | 1  | 0     |         | 7.23e75
        3           | 2005140F[0]                                  | 00189087 | 1  | 0     |         | 98
    """,
    )
    view.expect(
        "diffusion_frames",
        """
        instance_id | frame_number | series_key | b_value | b_value_source | diffusion_gradient_direction | b_matrix
        1           | 1            | s          | 50      | standard       |                              |
        1           | 2            | s          | 700     | standard       | [0, 0.6, -0.8]               | [[1, 2, 3], [2, 4, 5], [3, 5, 6]]
        2           | 1            | s          | 30      | standard       |                              |
        2           | 2            | s          | 30      | standard       |                              |
        2           | 3            | s          | 30      | standard       |                              |
    """,
    )


def private(*rows: tuple[str, str, str]) -> str:
    """Draw private elements: tag, creator and values of one instance."""
    drawn = ["instance_id | path | tag | creator | index | integer | real"]
    for tag, creator, values in rows:
        for index, value in enumerate(values.split()):
            column = f"{value} | " if "." not in value else f" | {value}"
            drawn.append(f"1 | '' | {tag} | {creator} | {index} | {column}")
    return "\n".join(drawn)


@pytest.mark.parametrize(
    ("elements", "b_value", "source", "direction"),
    [
        (
            [("0019120C", "SIEMENS MR HEADER", "900"), ("0019120E", "SIEMENS MR HEADER", "0.0 0.6 0.8")],
            900, "SIEMENS MR HEADER", [0, 0.6, 0.8],
        ),
        # The first block counts.
        (
            [("0019120C", "SIEMENS MR HEADER", "900"), ("0019100C", "SIEMENS MR HEADER", "800")],
            800, "SIEMENS MR HEADER", None,
        ),
        (
            [
                ("20011003", "Philips Imaging DD 001", "750.0"),
                ("200511B0", "Philips MR Imaging DD 001", "0.6"),
                ("200511B1", "Philips MR Imaging DD 001", "0.0"),
                ("200511B2", "Philips MR Imaging DD 001", "-0.8"),
            ],
            750, "Philips Imaging DD 001", [0.6, 0, -0.8],
        ),
        # Row, column and slice of a sagittal image: y, -z and -x of the patient.
        (
            [("00651109", "Image Private Header", "928.5"), ("00651137", "Image Private Header", "0.6 0.0 0.8")],
            928.5, "Image Private Header", [-0.8, 0.6, 0],
        ),
        # No direction where there is no weighting.
        (
            [("00651109", "Image Private Header", "1.25"), ("00651137", "Image Private Header", "0.0 0.0 0.0")],
            1.25, "Image Private Header", None,
        ),
        # Another creator at the same tag says nothing.
        ([("0019100C", "GEMS_ACQU_01", "900"), ("20011003", "Another", "5.0")], None, None, None),
        ([("0019100C", "", "900"), ("00431039", "", "900 8 0 0")], None, None, None),
    ],
)  # fmt: skip
def test_vendors_are_understood_by_creator(
    view: View, elements: list[tuple[str, str, str]], b_value: float | None, source: str | None,
    direction: list[float] | None,
) -> None:  # fmt: skip
    view.given("instances", ONE_IMAGE)
    view.given("elements", private(*elements))
    columns = ["b_value", "b_value_source", "diffusion_gradient_direction"]
    wanted = [] if b_value is None else [(b_value, source, direction)]
    assert view.rows("diffusion_frames", columns) == wanted


@pytest.mark.parametrize(
    ("b_value", "vector", "directions", "understood", "axes"),
    [
        ("1000000750 8 0 0", "0.0 0.6 0.8", "6.0", 750, [0, 0.6, 0.8]),
        ("1000 8 0 0", "0.6 0.8 0.0", "6.0", 1000, [0.6, 0.8, 0]),
        # A shell of a quarter of the largest b-value.
        ("2000 8 0 0", "0.3 0.4 0.0", "6.0", 500, [0.6, 0.8, 0]),
        # An image without weighting of a tensor series, and an isotropic one.
        ("1000000750 8 0 0", "0.0 0.0 0.0", "6.0", 0, None),
        ("1000000750 8 0 0", "0.0 0.0 0.0", "0.0", 750, None),
        ("1000000750 8 0 0", "0.0 0.0 0.0", "", 750, None),
        ("1000000750 8 0 0", "", "", 750, None),
    ],
)
def test_ge_states_b_values_with_an_offset_and_scales_directions(
    view: View, b_value: str, vector: str, directions: str, understood: float,
    axes: list[float] | None,
) -> None:  # fmt: skip
    acquisition = zip(("001910BB", "001910BC", "001910BD"), vector.split(), strict=False)
    view.given("instances", ONE_IMAGE)
    view.given(
        "elements",
        private(
            ("00431039", "GEMS_PARM_01", b_value), ("001910E0", "GEMS_ACQU_01", directions),
            *((tag, "GEMS_ACQU_01", part) for tag, part in acquisition),
        ),
    )  # fmt: skip
    ((b, source, patient, gradient),) = view.rows(
        "diffusion_frames",
        ["b_value", "b_value_source", "diffusion_gradient_direction", "gradient_axes_direction"],
    )
    assert (b, source, patient) == (understood, "GEMS_PARM_01", None)
    assert gradient == (None if axes is None else pytest.approx(axes))


def test_standard_elements_come_before_csa_headers_and_those_before_private_elements(
    view: View,
) -> None:
    view.given(
        "instances", "instance_id | series_key\n" + "\n".join(f"{n} | s" for n in range(1, 4))
    )
    view.given(
        "elements",
        """
        instance_id | path | tag      | creator           | index | integer | real
        1           | ''   | 0019100C | SIEMENS MR HEADER | 0     | 1       |
        1           | ''   | 00189087 |                   | 0     |         | 3
        2           | ''   | 0019100C | SIEMENS MR HEADER | 0     | 1       |
        3           | ''   | 0019100C | SIEMENS MR HEADER | 0     | 1       |
    """,
    )
    view.given(
        "vendor_elements",
        """
        instance_id | source_tag | source_path | creator            | payload | name    | index | real
        1           | 00291010   | ''          | SIEMENS CSA HEADER | 1       | B_value | 0     | 2
        2           | 00291010   | ''          | SIEMENS CSA HEADER | 1       | B_value | 0     | 2
        2           | 00291110   | ''          | SIEMENS CSA HEADER | 2       | B_value | 0     | 9
        3           | 00291010   | ''          | Another            | 3       | B_value | 0     | 8
    """,
    )
    view.expect(
        "diffusion_frames",
        """
        instance_id | b_value | b_value_source
        1           | 3       | standard
        2           | 2       | SIEMENS CSA HEADER
        3           | 1       | SIEMENS MR HEADER
    """,
    )


GE_IMAGE = """
    instance_id | series_key | Manufacturer
    1           | s          | {0}
"""
GE_LOST = """
    instance_id | path | tag      | vr | vm | index | integer | real
    1           | ''   | 00431039 | IS | {0} | 0    | {1}     |
    1           | ''   | 001910BB | DS | 1  | 0     |         | {2}
    1           | ''   | 001910BC | DS | 1  | 0     |         | 0
    1           | ''   | 001910BD | DS | 1  | 0     |         | 0
"""


@pytest.mark.parametrize(
    ("manufacturer", "count", "b_value", "length", "is_taken"),
    [
        ("GE MEDICAL SYSTEMS", 4, 1000000750, 1, True),
        # Each fact alone speaks against it: maker, number of values, range, length.
        ("SIEMENS", 4, 750, 1, False),
        ("", 4, 750, 1, False),
        ("GE MEDICAL SYSTEMS", 1, 750, 1, False),
        ("GE MEDICAL SYSTEMS", 4, 268435456, 1, False),
        ("GE MEDICAL SYSTEMS", 4, 750, 0, False),
        ("GE MEDICAL SYSTEMS", 4, 750, 7, False),
    ],
)
def test_elements_without_a_creator_are_taken_where_all_facts_agree(
    view: View, manufacturer: str, count: int, b_value: int, length: float, is_taken: bool
) -> None:
    view.given("instances", GE_IMAGE.format(manufacturer))
    view.given("elements", GE_LOST.format(count, b_value, length))
    rows = view.rows("diffusion_frames", ["b_value", "b_value_source", "without_creator"])
    assert rows == ([(750, "GEMS_PARM_01", True)] if is_taken else [])


@pytest.mark.parametrize(
    ("kind", "position", "is_inferred"),
    [
        ("[ORIGINAL, PRIMARY]", "[0, 0, 3]", True),
        # A map of the same series, another kind of image, another place: nothing is known of them.
        ("[DERIVED, PRIMARY]", "[0, 0, 3]", False),
        ("[ORIGINAL, OTHER]", "[0, 0, 3]", False),
        ("[ORIGINAL, PRIMARY]", "[0, 0, 6]", False),
        ("[ORIGINAL, PRIMARY]", "", False),
    ],
)
def test_an_image_without_b_value_among_weighted_ones_is_not_weighted(
    view: View, kind: str, position: str, is_inferred: bool
) -> None:
    view.given(
        "instances",
        f"""
        instance_id | series_key | Modality | pixel_offset | ImageType           | ImagePositionPatient
        1           | s          | MR       | 9            | [ORIGINAL, PRIMARY] | [0, 0, 3]
        2           | s          | MR       | 9            | {kind}              | {position}
        3           | t          | MR       | 9            | [ORIGINAL, PRIMARY] | [0, 0, 3]
    """,
    )
    view.given(
        "elements",
        """
        instance_id | path | tag      | vm | index | real
        1           | ''   | 00189087 | 1  | 0     | 800
    """,
    )
    rows = view.rows("diffusion_frames", ["instance_id", "b_value", "b_value_source"])
    inferred = [(2, 0, "inferred")] if is_inferred else []
    assert sorted(rows) == [(1, 800, "standard"), *inferred]
