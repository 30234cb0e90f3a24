"""Shipped cohorts, on small tables."""

from __future__ import annotations

import re

import pytest

from tests.small_tables import View
from warehouse.sqlfiles import LAYERS, Model, read_models

COHORTS = [model for model in read_models() if model.layer == LAYERS[4]]


@pytest.mark.parametrize("model", COHORTS, ids=lambda model: model.name)
def test_the_header_declares_the_parameters_of_the_macro(model: Model) -> None:
    (given,) = re.findall(rf"macro {model.name}\((.*)\) as table\n", model.sql)
    declared = [f"{p.name} := {_literal(p.type, p.default)}" for p in model.params]
    assert given == ", ".join(declared)
    assert all(p.description for p in model.params)


def _literal(kind: str, default: str) -> str:
    if kind == "VARCHAR" and default != "null":
        return f"'{default}'"
    if kind == "VARCHAR[]":
        return str(default.strip("[]").split(", "))
    return default


def keys(view: View, question: str) -> set[str]:
    return {row[0] for row in view.ask(question.split("(", 1)[0], f"from {question}")}


def test_ct_thin_slice(view: View) -> None:
    view.given("series", """
        series_key | Modality | SliceThickness | instance_count | ImageType
        thin       | CT       | 1.5            | 9              | [ORIGINAL, PRIMARY, AXIAL]
        thick      | CT       | 1.6            | 9              |
        few        | CT       | 1.0            | 2              |
        unknown    | CT       |                | 9              |
        mr         | MR       | 1.0            | 9              |
        scout      | CT       | 1.0            | 9              | [ORIGINAL, PRIMARY, LOCALIZER]
    """)  # fmt: skip
    assert keys(view, "ct_thin_slice()") == {"thin", "few"}
    assert keys(view, "ct_thin_slice(min_instances := 3)") == {"thin"}
    assert keys(view, "ct_thin_slice(max_slice_mm := 1.6)") == {"thin", "few", "thick"}


def test_a_series_is_judged_by_all_its_instances(view: View) -> None:
    # Each has a first value that meets the condition; `series` has no other.
    view.given("series", """
        series_key | study_key | Modality | SliceThickness | instance_count | ScanningSequence | MRAcquisitionType | FrameOfReferenceUID | frames_differ
        thin       | one       | CT       | 1              | 2              |                  |                   | 1.1                 |
        thick      | one       | CT       | 1              | 2              |                  |                   | 1.1                 |
        scout      | one       | CT       | 1              | 2              |                  |                   | 1.1                 |
        frames     | one       | CT       | 1              | 1              |                  |                   | 1.1                 |
        pt         | one       | PT       |                |                |                  |                   | 1.1                 |
        se         | two       | MR       |                | 2              | [SE]             | 2D                |                     |
        mixed      | two       | MR       |                | 2              | [SE]             | 2D                |                     |
        2d_3d      | two       | MR       |                | 2              | [SE]             | 2D                |                     |
        differ     | two       | MR       |                | 1              | [SE]             | 2D                |                     | [ScanningSequence]
    """)  # fmt: skip
    view.given("instances", """
        instance_id | series_key | SliceThickness | ImageType            | ScanningSequence | MRAcquisitionType
        1           | thin       | 1              |                      |                  |
        2           | thin       |                |                      |                  |
        3           | thick      | 1              |                      |                  |
        4           | thick      | 10             |                      |                  |
        5           | scout      | 1              | [ORIGINAL]           |                  |
        6           | scout      | 1              | [ORIGINAL, LOCALIZER] |                 |
        7           | frames     |                |                      |                  |
        8           | se         |                |                      | [SE]             | 2D
        9           | se         |                |                      |                  |
        10          | mixed      |                |                      | [SE]             | 2D
        11          | mixed      |                |                      | [GR]             | 2D
        12          | 2d_3d      |                |                      | [SE]             | 2D
        13          | 2d_3d      |                |                      | [SE]             | 3D
        14          | differ     |                |                      |                  |
    """)  # fmt: skip
    view.given("frame_values", """
        instance_id | SliceThickness | ScanningSequence | frames_differ
        7           | 1              |                  | [SliceThickness]
        14          |                | [SE]             | [ScanningSequence]
    """)  # fmt: skip
    view.given("group_elements", """
        instance_id | item | sequence              | tag      | index | real
        7           | 0    | PixelMeasuresSequence | 00180050 | 0     | 1
        7           | 1    | PixelMeasuresSequence | 00180050 | 0     | 10
    """)  # fmt: skip
    assert keys(view, "ct_thin_slice()") == {"thin"}
    assert keys(view, "ct_thin_slice(max_slice_mm := 10)") == {"thin", "thick", "frames"}
    assert keys(view, "mr_by_sequence()") == {"se", "2d_3d"}
    assert keys(view, "mr_by_sequence(acquisition_type := '2D')") == {"se"}
    assert keys(view, "pt_ct_pairs()") == {"pt", "thin", "thick", "frames"}


def test_mr_by_sequence_compares_sets(view: View) -> None:
    view.given("series", """
        series_key | Modality | ScanningSequence | MRAcquisitionType
        ir_gr      | MR       | [IR, GR]         | 3D
        gr_ir      | MR       | [GR, IR]         | 2D
        gr         | MR       | [GR]             | 3D
        none       | MR       |                  | 3D
        ct         | CT       | [GR]             |
    """)  # fmt: skip
    assert keys(view, "mr_by_sequence(scanning_sequence := ['GR', 'IR'])") == {"ir_gr", "gr_ir"}
    assert keys(view, "mr_by_sequence(scanning_sequence := ['GR'])") == {"gr"}
    assert keys(
        view, "mr_by_sequence(scanning_sequence := ['IR', 'GR'], acquisition_type := '3D')"
    ) == {"ir_gr"}
    assert keys(view, "mr_by_sequence()") == set()


def test_pt_ct_pairs(view: View) -> None:
    view.given("series", """
        series_key | study_key | Modality | FrameOfReferenceUID | ImageType
        pt         | both      | PT       | 1.1                 |
        ct         | both      | CT       | 1.1                 | [ORIGINAL, PRIMARY, AXIAL]
        elsewhere  | both      | CT       | 1.2                 |
        scout      | both      | CT       | 1.1                 | [ORIGINAL, PRIMARY, LOCALIZER]
        alone      | one       | PT       | 1.1                 |
        ct_only    | two       | CT       | 1.1                 |
    """)  # fmt: skip
    assert keys(view, "pt_ct_pairs()") == {"pt", "ct"}
    assert keys(view, "pt_ct_pairs(same_frame := false)") == {"pt", "ct", "elsewhere"}


def test_follow_up_studies(view: View) -> None:
    view.given("studies", """
        study_key | patient_key | StudyDate  | modalities
        first     | again       | 2020-01-01 | [CT, SR]
        second    | again       | 2020-01-31 | [CT]
        other     | again       | 2021-01-01 | [MR]
        undated   | again       |            | [CT]
        single    | once        | 2020-01-01 | [CT]
    """)  # fmt: skip
    assert keys(view, "follow_up_studies()") == {"first", "second"}
    assert keys(view, "follow_up_studies(min_days := 30)") == {"first", "second"}
    assert keys(view, "follow_up_studies(min_days := 31)") == set()
    assert keys(view, "follow_up_studies(of_modality := 'MR')") == set()
