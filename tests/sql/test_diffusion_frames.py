"""What a row of ``diffusion_frames`` is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.small_tables import View

OWN = "PerFrameFunctionalGroupsSequence"
SHARED = "SharedFunctionalGroupsSequence[0].MRDiffusionSequence[0]"


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


Private = list[tuple[str, str, str]]
"""Tag, creator and values of private elements of one instance."""


def told(cases: list[Private], columns: list[str]) -> dict[int, list[tuple[Any, ...]]]:
    """Return what the view says of each case: it is asked once, of an image of a series for each."""
    view = View()
    images = ["instance_id | series_key | ImageOrientationPatient"]
    drawn = ["instance_id | path | tag | creator | index | integer | real"]
    for number, elements in enumerate(cases):
        images.append(f"{number} | s{number} | [0, 1, 0, 0, 0, -1]")
        for tag, creator, values in elements:
            for index, value in enumerate(values.split()):
                column = f"{value} | " if "." not in value else f" | {value}"
                drawn.append(f"{number} | '' | {tag} | {creator} | {index} | {column}")
    view.given("instances", "\n".join(images))
    view.given("elements", "\n".join(drawn))
    return by_case(view, len(cases), columns)


def by_case(view: View, cases: int, columns: list[str]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {number: [] for number in range(cases)}
    for number, *row in view.rows("diffusion_frames", ["instance_id", *columns]):
        found[number].append(tuple(row))
    return found


VENDORS: list[tuple[Private, float | None, str | None, list[float] | None]] = [
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
    # Unit vectors, whatever their length is; dcm2niix does the same.
    (
        [("0019120C", "SIEMENS MR HEADER", "900"), ("0019120E", "SIEMENS MR HEADER", "0.0 0.75 1.0")],
        900, "SIEMENS MR HEADER", [0, 0.6, 0.8],
    ),
    (
        [("00651109", "Image Private Header", "928.5"), ("00651137", "Image Private Header", "0.3 0.0 0.4")],
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
]  # fmt: skip


@pytest.fixture(scope="module")
def vendors() -> dict[int, list[tuple[Any, ...]]]:
    columns = ["b_value", "b_value_source", "diffusion_gradient_direction"]
    return told([elements for elements, *_ in VENDORS], columns)


@pytest.mark.parametrize("number", range(len(VENDORS)))
def test_vendors_are_understood_by_creator(
    vendors: dict[int, list[tuple[Any, ...]]], number: int
) -> None:
    _, b_value, source, direction = VENDORS[number]
    assert vendors[number] == ([] if b_value is None else [(b_value, source, direction)])


GE: list[tuple[str, str, str, float, list[float] | None]] = [
    ("1000000750 8 0 0", "0.0 0.6 0.8", "6.0", 750, [0, 0.6, 0.8]),
    ("1000 8 0 0", "0.6 0.8 0.0", "6.0", 1000, [0.6, 0.8, 0]),
    # A shell of a quarter of the largest b-value.
    ("2000 8 0 0", "0.3 0.4 0.0", "6.0", 500, [0.6, 0.8, 0]),
    # An image without weighting of a tensor series, and an isotropic one.
    ("1000000750 8 0 0", "0.0 0.0 0.0", "6.0", 0, None),
    ("1000000750 8 0 0", "0.0 0.0 0.0", "0.0", 750, None),
    ("1000000750 8 0 0", "0.0 0.0 0.0", "", 750, None),
    ("1000000750 8 0 0", "", "", 750, None),
]


@pytest.fixture(scope="module")
def of_ge() -> dict[int, list[tuple[Any, ...]]]:
    cases: list[Private] = []
    for b_value, vector, directions, _, _ in GE:
        acquisition = zip(("001910BB", "001910BC", "001910BD"), vector.split(), strict=False)
        cases.append([
            ("00431039", "GEMS_PARM_01", b_value), ("001910E0", "GEMS_ACQU_01", directions),
            *((tag, "GEMS_ACQU_01", part) for tag, part in acquisition),
        ])  # fmt: skip
    return told(
        cases,
        ["b_value", "b_value_source", "diffusion_gradient_direction", "gradient_axes_direction"],
    )


@pytest.mark.parametrize("number", range(len(GE)))
def test_ge_states_b_values_with_an_offset_and_scales_directions(
    of_ge: dict[int, list[tuple[Any, ...]]], number: int
) -> None:
    *_, understood, axes = GE[number]
    ((b, source, patient, gradient),) = of_ge[number]
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


LOST = [
    ("GE MEDICAL SYSTEMS", 4, 1000000750, 1, True),
    # Each fact alone speaks against it: maker, number of values, range, length.
    ("SIEMENS", 4, 750, 1, False),
    ("", 4, 750, 1, False),
    ("GE MEDICAL SYSTEMS", 1, 750, 1, False),
    ("GE MEDICAL SYSTEMS", 4, 268435456, 1, False),
    ("GE MEDICAL SYSTEMS", 4, 750, 0, False),
    ("GE MEDICAL SYSTEMS", 4, 750, 7, False),
]
"""Maker, number of values, b-value, length of the direction, and whether it is taken for GE's."""


@pytest.fixture(scope="module")
def of_nobody() -> dict[int, list[tuple[Any, ...]]]:
    """Elements without a creator, at the places of GE's."""
    view = View()
    images = ["instance_id | series_key | Manufacturer"]
    drawn = ["instance_id | path | tag | vr | vm | index | integer | real"]
    for n, (manufacturer, count, b_value, length, _) in enumerate(LOST):
        images.append(f"{n} | s{n} | {manufacturer}")
        drawn.append(f"{n} | '' | 00431039 | IS | {count} | 0 | {b_value} |")
        for tag, part in (("001910BB", length), ("001910BC", 0), ("001910BD", 0)):
            drawn.append(f"{n} | '' | {tag} | DS | 1 | 0 | | {part}")
    view.given("instances", "\n".join(images))
    view.given("elements", "\n".join(drawn))
    return by_case(view, len(LOST), ["b_value", "b_value_source", "without_creator"])


@pytest.mark.parametrize("number", range(len(LOST)))
def test_elements_without_a_creator_are_taken_where_all_facts_agree(
    of_nobody: dict[int, list[tuple[Any, ...]]], number: int
) -> None:
    assert of_nobody[number] == ([(750, "GEMS_PARM_01", True)] if LOST[number][-1] else [])


AMONG = [
    ("[ORIGINAL, PRIMARY]", "[0, 0, 3]", True),
    # A map of the same series, another kind of image, another place: nothing is known of them.
    ("[DERIVED, PRIMARY]", "[0, 0, 3]", False),
    ("[ORIGINAL, OTHER]", "[0, 0, 3]", False),
    ("[ORIGINAL, PRIMARY]", "[0, 0, 6]", False),
    ("[ORIGINAL, PRIMARY]", "", False),
]
"""Kind and place of an image without a b-value, and whether it is held to be not weighted."""


@pytest.fixture(scope="module")
def among() -> list[list[tuple[Any, ...]]]:
    """Of each case the weighted image, and that one of its series; one of a series without any."""
    view = View()
    images = [
        "instance_id | series_key | Modality | pixel_offset | ImageType | ImagePositionPatient"
    ]
    drawn = ["instance_id | path | tag | vm | index | real"]
    for n, (kind, position, _) in enumerate(AMONG):
        images.append(f"{10 * n + 1} | s{n} | MR | 9 | [ORIGINAL, PRIMARY] | [0, 0, 3]")
        images.append(f"{10 * n + 2} | s{n} | MR | 9 | {kind} | {position}")
        images.append(f"{10 * n + 3} | t{n} | MR | 9 | [ORIGINAL, PRIMARY] | [0, 0, 3]")
        drawn.append(f"{10 * n + 1} | '' | 00189087 | 1 | 0 | 800")
    view.given("instances", "\n".join(images))
    view.given("elements", "\n".join(drawn))
    rows = sorted(view.rows("diffusion_frames", ["instance_id", "b_value", "b_value_source"]))
    return [
        [(key % 10, *rest) for key, *rest in rows if key // 10 == number]
        for number in range(len(AMONG))
    ]


@pytest.mark.parametrize("number", range(len(AMONG)))
def test_an_image_without_b_value_among_weighted_ones_is_not_weighted(
    among: list[list[tuple[Any, ...]]], number: int
) -> None:
    inferred = [(2, 0, "inferred")] if AMONG[number][-1] else []
    assert among[number] == [(1, 800, "standard"), *inferred]
