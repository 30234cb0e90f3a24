"""Each data check is silent on good data and names what is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.asking import answer_of
from warehouse.sqlfiles import Model, read_checks

if TYPE_CHECKING:
    import warehouse
    from tests.small_tables import View

CHECKS = {check.name: check for check in read_checks()}

GOOD = {
    "files": """
        file_path | status   | reason    | mode | instance_id | batch
        /a   | ingested |           | full | 1           | 000001
        /b   | rejected | not DICOM | full |             | 000001
        /c   | rejected | not DICOM | full |             | 000001
    """,
    "instances": """
        instance_id | batch  | instance_key | series_key | study_key | file_path
        1           | 000001 | 1.1          | 1.2        | 1.3       | /a
    """,
    "elements": """
        instance_id | batch  | path | tag      | vr | vm | index | length | sha256
        1           | 000001 | ''   | 00080018 | UI | 1  | 0     |        |
        1           | 000001 | ''   | 00420011 | OB | 1  | 0     | 300    | aa
    """,
    "blobs": """
        sha256 | length
        aa     | 300
    """,
    "vendor_payloads": """
        instance_id | payload
        1           | 65536
    """,
    "vendor_values": """
        payload | name
        65536   | B_value
    """,
    "element_conflicts": """
        element  | keyword | creator | vrs      | is_allowed
        00280106 | y       |         | [US, SS] | true
        00191002 |         |         | [US, SS] | false
        0019xx02 |         | A       | [US, SS] | false
    """,
}

GOOD |= {
    "socket_values": """
        value_id | slug | shape_count
        aa       | a    | 1
        bb       | b    |
    """,
    "value_uses": """
        use_id | value_id
        1      | aa
        2      | bb
    """,
    "annotations": """
        value_id | index | kind
        aa       | 0     | POIN
    """,
    "value_set_entries": """
        entry | set_name | item | slug | value_id
        1     | s        | i    | b    | bb
        2     | s        | i    | b    |
    """,
}

BAD = {
    "orphan_values": ("annotations", """
        value_id | index | kind
        aa       | 0     | POIN
        aa       | 1     | POIN
        cc       | 0     | POIN
    """),
    "elements_of_one_batch": ("files", """
        file_path | status   | instance_id | batch
        /a   | ingested | 1           | 000002
    """),
    "file_without_instance": ("files", """
        file_path | status   | instance_id | batch
        /a   | ingested | 1           | 000001
        /c   | ingested | 2           | 000001
    """),
    "instance_held_twice": ("instances", """
        instance_id | instance_key | series_key | file_path
        1           | 1.1          | 1.2        | /a
        2           | 1.1          | 1.2        | /b
    """),
    "instance_without_file": ("instances", """
        instance_id | instance_key | file_path
        1           | 1.1          | /a
        9           | 1.9          | /z
    """),
    "missing_blobs": ("elements", """
        instance_id | batch  | path | tag      | vr | vm | index | length | sha256
        1           | 000001 | ''   | 00420011 | OB | 1  | 0     | 300    | bb
    """),
    "orphan_elements": ("elements", """
        instance_id | batch  | path | tag      | vr | vm | index
        7           | 000001 | ''   | 00080018 | UI | 1  | 0
    """),
    "orphan_vendor_payloads": ("vendor_payloads", """
        instance_id | payload
        1           | 65536
        7           | 65536
    """),
    "reject_rate": ("files", """
        file_path | status   | reason  | batch
        /a   | ingested |         | 000001
        /b   | rejected | cut off | 000002
        /c   | rejected | cut off | 000002
        /d   | rejected | cut off | 000002
        /e   | rejected |         | 000002
        /f   | rejected | cut off | 000002
    """),
    "rows_of_every_file": ("files", """
        file_path | status   | mode   | instance_id | SOPInstanceUID | batch
        /a   | ingested | normal | 2           | 1.2            | 000001
    """),
    "series_in_two_studies": ("instances", """
        instance_id | instance_key | series_key | study_key | file_path
        1           | 1.1          | 1.2        | 1.3       | /a
        2           | 1.4          | 1.2        | 1.5       | /b
    """),
    "vr_conflicts": ("element_conflicts", """
        element  | keyword | creator | vrs      | is_allowed
        00100020 | x       |         | [LO, SH] | false
    """),
}  # fmt: skip


def test_every_check_has_bad_data_here() -> None:
    assert BAD.keys() == CHECKS.keys()


def rows(view: View, check: Model, changed: tuple[str, str] | None) -> int:
    for name in check.depends:
        view.given(name, changed[1] if changed and changed[0] == name else GOOD[name])
    return len(view.connection.execute(check.sql).fetchall())


@pytest.mark.parametrize("name", CHECKS)
def test_good_data_pass(name: str, view: View) -> None:
    assert rows(view, CHECKS[name], None) == 0


@pytest.mark.parametrize("name", CHECKS)
def test_bad_data_are_found(name: str, view: View) -> None:
    assert BAD[name][0] in CHECKS[name].depends
    assert rows(view, CHECKS[name], BAD[name]) >= 1


@pytest.mark.parametrize(
    "name",
    [
        # It reads the VR of every element.
        pytest.param(name, marks=pytest.mark.long("test_good_data_pass"))
        if name == "vr_conflicts"
        else name
        for name in CHECKS
    ],
)
def test_real_files_pass(name: str, sample: warehouse.Warehouse) -> None:
    assert answer_of(sample, CHECKS[name].sql) == []
