"""Rules that users bring: what is read, what is refused, how they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import write
from warehouse.errors import NotAWarehouse, SourceNotFound, UsageError
from warehouse.store.rules import FILE, add_rules, read_rules, written

HEAD = "rank,rule,sequence_type,modality,attribute,test,values\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = warehouse.open(tmp_path / "w", create=True)
    write(tmp_path / "in" / "a.dcm")
    made.ingest(tmp_path / "in", workers=1)
    return made.root


def given(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rules_are_written_as_they_are_read() -> None:
    rules = read_rules()
    from warehouse.sqlfiles import sql_folder

    assert written(rules) == (sql_folder() / "rules" / FILE).read_text()


def test_users_rules_come_first_among_equals_and_replace_those_of_their_name(
    root: Path, tmp_path: Path
) -> None:
    text = (
        HEAD
        + "10,zz,z,MR,EchoTime,above,1\n5.5,adc-words,t1,CT,ImageType,has,A\\B|C\n61,uni-words,,,,,\n"
    )
    assert add_rules(root, given(tmp_path, text)) == 3
    rules = read_rules(root)
    names = [rule.name for rule in rules]
    assert names[:3] == ["adc-words", "zz", "physio-type"]
    assert "uni-words" not in names
    first = rules[0]
    assert (first.rank, first.sequence_type, first.modality, first.source) == (
        5.5,
        "t1",
        "CT",
        "user",
    )
    assert first.conditions[0].alternatives == (("A", "B"), ("C",))
    assert read_rules() != rules


def test_a_second_file_adds_to_the_first(root: Path, tmp_path: Path) -> None:
    add_rules(
        root, given(tmp_path, HEAD + "1,a,a,MR,EchoTime,above,1\n1,a,a,MR,EchoTime,below,2\n")
    )
    add_rules(root, given(tmp_path, "\ufeff" + HEAD + "2,b,b,,00181030,is,x\n\n"))
    assert [(rule.name, len(rule.conditions)) for rule in read_rules(root)[:2]] == [
        ("a", 2),
        ("b", 1),
    ]
    assert [path.name for path in root.iterdir() if FILE in path.name] == [FILE]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "the header line has no rank, rule, sequence_type, attribute, test, values"),
        ("", "the header line has no"),
        (HEAD, "has no rule"),
        (HEAD + "x,a,a,MR,EchoTime,above,1\n", "line 2: rank must be a number"),
        (HEAD + "nan,a,a,MR,EchoTime,above,1\n", "line 2: rank must be a number"),
        (HEAD + "1,,a,MR,EchoTime,above,1\n", "line 2: the rule has no name"),
        (HEAD + "1,a,a,MR,Echotime,above,1\n", "line 2: 'Echotime' is neither a DICOM keyword"),
        (HEAD + "1,a,a,MR,EchoTime,over,1\n", "line 2: 'over' is not a test; choose one of is, has"),
        (HEAD + "1,a,a,MR,EchoTime,above,1|2\n", "line 2: above needs one number"),
        (HEAD + "1,a,a,MR,EchoTime,above,\n", "line 2: above needs one number"),
        (HEAD + "1,a,a,MR,EchoTime,above,x\n", "line 2: above needs one number"),
        (HEAD + "1,a,a,MR,ImageType,has,\n", "line 2: has needs values"),
        (HEAD + "1,a,a,MR,ImageType,contains,A|\n", "line 2: contains needs values"),
        (HEAD + "1,a,a,MR,ImageType,is,A\n2,a,a,MR,ImageType,is,B\n", "line 3: lines of one rule differ in rank"),
        (HEAD + "1,a,a,MR,ImageType,is,A\n1,a,a,CT,ImageType,is,B\n", "line 3: lines of one rule differ in rank"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_and_nothing_is_added(
    root: Path, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        add_rules(root, given(tmp_path, text))
    assert message in str(caught.value)
    assert not (root / FILE).exists()


def test_a_file_that_is_no_text_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00rank")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        add_rules(root, tmp_path / "x")
    with pytest.raises(SourceNotFound, match="no such file or folder: .*none"):
        add_rules(root, tmp_path / "none")


def test_damaged_rules_say_what_to_do(root: Path) -> None:
    (root / FILE).write_text("rank\n1\n")
    with pytest.raises(UsageError, match="repair the file, or delete it and add your rules again"):
        read_rules(root)


def test_rules_belong_to_a_warehouse(tmp_path: Path) -> None:
    source = given(tmp_path, HEAD + "1,a,a,MR,EchoTime,above,1\n")
    with pytest.raises(NotAWarehouse):
        add_rules(tmp_path / "none", source)


def test_the_command_lists_and_adds_rules(root: Path, tmp_path: Path) -> None:
    listed = run("rules", "list", "--format", "csv", "-w", root).stdout
    assert listed == written(read_rules())
    own = given(tmp_path, HEAD + "1,[x],a,MR,EchoTime,above,1\n")
    assert "1 rule added" in run("rules", "add", own, "-w", root).stdout
    assert run("rules", "list", "-w", root).stdout.splitlines()[1].split()[:4] == [
        "1",
        "[x]",
        "a",
        "high",
    ]
    wrong = run("rules", "add", given(tmp_path, "x"), "-w", root)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ")
