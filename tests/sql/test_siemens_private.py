"""What a row of ``siemens_private`` is; tests/test_vendor_payloads.py reads it from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.small_tables import View


def test_of_two_blocks_with_one_element_the_first_counts(view: View) -> None:
    view.given(
        "elements",
        """
        instance_id | path | tag      | creator           | vm | index | integer | real
        1           | ''   | 0019110C | SIEMENS MR HEADER | 1  | 0     | 2       |
        1           | ''   | 0019100C | SIEMENS MR HEADER | 1  | 0     | 1       |
        1           | ''   | 0019110E | SIEMENS MR HEADER | 3  | 0     |         | 0
        1           | ''   | 0019110E | SIEMENS MR HEADER | 3  | 1     |         | 0
        1           | ''   | 0019110E | SIEMENS MR HEADER | 3  | 2     |         | 1
        1           | ''   | 0019100E | SIEMENS MR HEADER | 3  | 2     |         | 0.8
        1           | ''   | 0019100E | SIEMENS MR HEADER | 3  | 0     |         | 0
        1           | ''   | 0019100E | SIEMENS MR HEADER | 3  | 1     |         | 0.6
        1           | ''   | 0019100C | GEMS_ACQU_01      | 1  | 0     | 3       |
    """,
    )
    view.expect(
        "siemens_private",
        """
        instance_id | B_value | DiffusionGradientDirection | B_matrix
        1           | 1       | [0, 0.6, 0.8]              |
    """,
    )
