"""What a sidecar says if headers say too little, or what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.bids.refused import Refused
from warehouse.bids.sidecar import of_field_map, rounded, sidecar, sliced
from warehouse.bids.split import ORDER, Piece, _with_labels

BOLD = {"RepetitionTime": 2.0, "EchoTime": 0.03}


def told(
    fields: dict[str, Any], times: list[float] | None = None, suffix: str = "bold"
) -> tuple[dict[str, Any], list[str]]:
    return sidecar(fields, Piece("", (0,)), suffix, "rest", times)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EchoTime", 0.0),
        ("EchoTime", -1.0),
        ("InversionTime", 0.0),
        ("FlipAngle", 0.0),
        ("MagneticFieldStrength", 15000.0),
    ],
)
def test_what_cannot_be_is_left_out_and_said(name: str, value: float) -> None:
    made, left_out = told(BOLD | {name: value})
    assert name not in made
    assert left_out == [f"{name}: {value:g} is out of range"]


def test_the_step_between_volumes_counts_where_it_is_regular() -> None:
    # As of a three-dimensional EPI: the header states the time between excitations.
    made, left_out = told(BOLD | {"RepetitionTime": 0.05}, [0.0, 2.0, 4.0, 6.0])
    assert (made["RepetitionTime"], made["RepetitionTimeExcitation"]) == (2, 0.05)
    assert left_out
    made, left_out = told(BOLD, [0.0, 2.0025, 4.0, 6.0])
    assert (made["RepetitionTime"], left_out) == (2, [])


@pytest.mark.parametrize("times", [[0.0, 14.5], [0.0, 2.0, 9.0, 11.0]])
def test_times_that_tell_nothing_leave_what_the_header_states(times: list[float]) -> None:
    made, left_out = told(BOLD, times)
    assert made["RepetitionTime"] == 2
    assert left_out == ["RepetitionTime: it contradicts the times of volumes"]


@pytest.mark.parametrize(
    ("suffix", "fields", "why"),
    [
        ("bold", {"EchoTime": 0.03}, "RepetitionTime"),
        ("epi", BOLD, "PhaseEncodingDirection"),
        ("epi", BOLD | {"PhaseEncodingDirection": "j"}, "TotalReadoutTime"),
    ],
)
def test_what_bids_asks_for_is_a_reason_if_it_is_missing(
    suffix: str, fields: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        told(fields, suffix=suffix)


def test_field_maps_need_echo_times_or_a_unit() -> None:
    with pytest.raises(Refused, match="echo times"):
        of_field_map({}, "phasediff", None, None)
    with pytest.raises(Refused, match="Rescale Type"):
        of_field_map({}, "fieldmap", None, "US")


def test_slice_times_lie_within_a_repetition_and_tell_multiband() -> None:
    made = {"RepetitionTime": 2.0}
    assert sliced(made, [0.0, 1.0, 0.0, 1.0], 4) == []
    assert (made["SliceTiming"], made["MultibandAccelerationFactor"]) == ([0, 1, 0, 1], 2)
    made = {"RepetitionTime": 2.0}
    assert sliced(made, [0.0, 2.5], 2) == ["SliceTiming: times exceed the repetition time"]
    assert sliced(made, [0.0], 2) == ["SliceTiming: 1 times for 2 slices"]
    assert "SliceTiming" not in made


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_rounding_keeps_nine_digits(value: float) -> None:
    assert rounded(value) == pytest.approx(value, rel=1e-8)


def test_numbers_are_as_they_were_meant() -> None:
    assert rounded(2435.37 / 1000) == 2.43537
    assert rounded([3.0, True, "x", float("nan")]) == [3, True, "x", None]
    made, _ = told(BOLD | {"ImagingFrequency": float("nan")})
    assert "ImagingFrequency" not in made  # BIDS has no null


@given(st.dictionaries(st.sampled_from(ORDER[2:]), st.sampled_from(["a", "1"]), max_size=6))
def test_labels_stand_in_the_order_of_bids(entities: dict[str, str]) -> None:
    made = _with_labels("sub-1/ses-1/func/sub-1_ses-1_run-2_bold", entities)
    *labels, suffix = made.rpartition("/")[2].split("_")
    names = [label.split("-")[0] for label in labels]
    assert suffix == "bold"
    assert names == sorted(names, key=ORDER.index)
    assert set(names) == {"sub", "ses", "run", *entities}
