"""What a row of ``images``, ``duplicates`` and ``element_definitions`` is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.small_tables import View


def test_an_image_is_an_instance_with_pixel_data(view: View) -> None:
    view.given(
        "instances",
        """
        instance_id | pixel_offset | InstanceCreationDate | InstanceCreationTime
        1           | 0            | 2024-01-02           | 03:04:05
        2           | 99           | 2024-01-02           |
        3           |              | 2024-01-02           | 03:04:05
    """,
    )
    view.expect(
        "images",
        """
        instance_id | created_at
        1           | 2024-01-02 03:04:05
        2           | 2024-01-02 00:00:00
    """,
    )


def test_a_duplicate_names_the_file_that_holds_its_instance(view: View) -> None:
    view.given(
        "files",
        """
        file_path | status    | instance_key
        /a   | ingested  | 1.1
        /b   | duplicate | 1.1
        /c   | duplicate | 1.2
        /d   | rejected  |
    """,
    )
    view.expect(
        "duplicates",
        """
        file_path | held_by | instance_key
        /b   | /a      | 1.1
        /c   |         | 1.2
    """,
    )


def test_element_definitions_count_elements_values_and_where_they_occur(view: View) -> None:
    view.given(
        "instances",
        """
        instance_id | series_key
        1           | 9
        2           | 9
    """,
    )
    view.given(
        "elements",
        """
        instance_id | path  | tag      | vr | creator | vm | index | warning
        1           | ''    | 00080008 | CS |         | 2  | 0     |
        1           | ''    | 00080008 | CS |         | 2  | 1     |
        2           | ''    | 00080008 | CS |         | 0  | 0     |
        2           | S[0]  | 00080008 | CS |         | 1  | 0     | odd
        1           | ''    | 00191010 | LO | A       | 1  | 0     |
        2           | ''    | 00191010 | LO | B       | 1  | 0     |
    """,
    )
    view.expect(
        "element_definitions",
        """
        tag      | creator | vr | is_private | element_count | value_count | empty_count | instance_count | series_count | warning_count
        00080008 |         | CS | false      | 3             | 3           | 1           | 2              | 1            | 1
        00191010 | A       | LO | true       | 1             | 1           | 0           | 1              | 1            | 0
        00191010 | B       | LO | true       | 1             | 1           | 0           | 1              | 1            | 0
    """,
    )
