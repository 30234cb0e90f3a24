"""`dicom-warehouse cohort …` and `select`: what they print and how they exit."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.command_line import run
from warehouse.cli.run import run as run_command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def root(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cli") / "w"
    shutil.copytree(template / "w", made)
    return made


@pytest.fixture(scope="module")
def ran(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with a run of a cohort. Not to write to."""
    root = shutil.copytree(template / "w", tmp_path_factory.mktemp("ran") / "w")
    arguments = ["cohort", "run", "ct_thin_slice", "--max_slice_mm", "2", "-w", str(root)]
    assert run(*arguments).returncode == 0
    return root


@pytest.fixture
def command(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command in this process: exit code, standard output, standard error."""
    monkeypatch.setenv("DICOM_WAREHOUSE", str(root))

    def run(*arguments: object) -> tuple[int, str, str]:
        # Not main(), whose handlers of signals end the process that runs tests.
        with pytest.raises(SystemExit) as exited:
            run_command([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return exited.value.code, printed.out, printed.err

    return run


def test_a_cohort_from_question_to_verified_export(command, tmp_path: Path) -> None:
    code, out, _ = command("cohort", "run", "ct_thin_slice", "--max_slice_mm", "2", "--json")
    run = json.loads(out)
    assert (code, run["run"], run["counts"]["series"]) == (0, "ct_thin_slice-0001", 2)
    code, out, _ = command("cohort", "run", "ct_thin_slice", "--max-slice-mm", "2")
    assert out.splitlines()[0] == (
        "ct_thin_slice-0001  ct_thin_slice(max_slice_mm := 2.0, min_instances := 1)"
    )
    assert run["digest"] in out
    code, out, _ = command("cohort", "export", "ct_thin_slice", tmp_path / "a.zip")
    assert (code, out.count(run["digest"])) == (0, 1)
    code, out, _ = command("cohort", "verify", tmp_path / "a.zip")
    assert (code, "unchanged" in out) == (0, True)
    with (tmp_path / "a.zip").open("ab") as file:
        file.write(b"x")
    code, out, _ = command("cohort", "verify", tmp_path / "a.zip")
    assert (code, out.splitlines()[0]) == (1, "a.zip: other content than was written")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("csv", "--no-identifiers"), "takes no 'identifiers'"),
        (("csv", "--template", "{SOPInstanceUID}"), "takes no 'template'"),
        (("csv", "--source", "a=b"), "option of s5cmd"),
        (("csv", "--preset", "series_csv", "--rows", "patients"), "leave out rows"),
        (("uids", "--rows", "patients"), "takes no rows"),
        (("uids", "--preset", "series_csv"), "takes no rows and no preset"),
        (("s5cmd", "--template", "{SOPInstanceUID}"), "takes no 'template'"),
        (("zip", "--isotropic"), "takes no 'isotropic'"),
        (("zip", "--rows", "patients"), "takes no 'rows'"),
        (("bids", "--template", "{SOPInstanceUID}"), "takes no 'template'"),
        (("documents", "--allow-gaps"), "takes no 'allow_gaps'"),
        (("csv", "--no-identifiers", "--deidentify", "basic"), "takes no identifiers"),
        (("csv", "--template", "{SOPInstanceUID}", "--deidentify", "basic"), "takes no template"),
        (("uids", "--rows", "patients", "--deidentify", "basic"), "takes no rows"),
        (("copy", "--rows", "patients", "--deidentify", "basic"), "takes no rows"),
        (("bids", "--source", "a=b", "--deidentify", "basic"), "takes no 'source'"),
    ],
)
def test_an_option_of_another_format_is_refused(
    ran: Path, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, says
) -> None:
    monkeypatch.setenv("DICOM_WAREHOUSE", str(ran))
    form, *options = arguments
    code, _, err = command(
        "cohort", "export", "ct_thin_slice", tmp_path / "a", "--format", form, *options
    )
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert says in err


@pytest.mark.usefixtures("asked_here")
def test_a_set_a_difference_and_a_list(command) -> None:
    assert command("cohort", "run", "ct_thin_slice", "--max_slice_mm", "4")[0] == 0
    assert command("cohort", "union", "ct_thin_slice", "ct_thin_slice", "--name", "twice")[0] == 0
    sampled = command("cohort", "sample", "twice", "--name", "one_of_them", "--count", "1")
    assert sampled[0] == 0
    code, out, _ = command("cohort", "diff", "twice", "one_of_them")
    assert (code, "the question or its parameters differ" in out, "gone" in out) == (0, True, True)
    listed = command("cohort", "list")[1]
    assert "twice-0001" in listed
    assert "one_of_them-0001" in listed
    assert "create or replace macro pt_ct_pairs" in command("cohort", "show", "pt_ct_pairs")[1]


@pytest.mark.long("test_a_set_a_difference_and_a_list")
@pytest.mark.usefixtures("asked_here")
def test_sets_differences_and_lists(command, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("select series_key from series where Manufacturer = 'ACME'")
    assert command("cohort", "save", "acme", "--sql", tmp_path / "q.sql")[0] == 0
    assert command("cohort", "run", "acme")[0] == 0
    assert command("cohort", "run", "ct_thin_slice", "--max_slice_mm", "4")[0] == 0
    assert command("cohort", "union", "acme", "ct_thin_slice", "--name", "either")[0] == 0
    assert command("cohort", "intersect", "acme", "ct_thin_slice", "--name", "both")[0] == 0
    assert command("cohort", "minus", "acme", "ct_thin_slice", "--name", "only")[0] == 0
    code, out, _ = command("cohort", "diff", "acme", "both")
    assert (code, "gone" in out, "2  the question or its parameters differ" in out) == (
        0,
        True,
        True,
    )
    code, out, _ = command("cohort", "rerun", "acme")
    assert (code, "same digest" in out) == (0, True)
    code, out, _ = command("cohort", "split", "acme", "--seed", "3")
    assert (code, out.count("digest")) == (0, 3)
    assert command("cohort", "sample", "acme", "--name", "one", "--count", "1")[0] == 0
    code, out, _ = command("cohort", "list")
    for name in ("pt_ct_pairs", "acme ", "either-0001", "both-0001", "only-0001", "acme_test-0001"):
        assert name in out
    code, out, _ = command("cohort", "show", "acme")
    assert "Manufacturer = 'ACME'" in out
    code, out, _ = command("cohort", "show", "pt_ct_pairs")
    assert (code, "create or replace macro pt_ct_pairs" in out) == (0, True)


def test_a_condition_with_two_equals_signs_gets_a_hint(command) -> None:
    assert "one =" in command("select", "series", "Modality==CT")[2]
    assert command("select", "series", "Modality=CT")[2] == ""


def test_select(command, tmp_path: Path) -> None:
    arguments = ("SliceThickness__min=2", "Manufacturer!=Other", "--order", "-SliceThickness")
    code, out, _ = command("select", "series", *arguments, "--format", "csv")
    assert (code, [line.split(",")[0] for line in out.splitlines()[1:]]) == (0, ["1.5.1", "1.3.1"])
    code, out, _ = command(
        "select", "series", *arguments, "--limit", "1", "-o", tmp_path / "a.json"
    )
    assert [row["series_key"] for row in json.loads((tmp_path / "a.json").read_text())] == ["1.5.1"]
    assert "1.5.1" in command("select", "series", "Modality=CT")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cohort", "run", "ct_thin_slic"), "similar: ct_thin_slice"),
        (
            ("cohort", "run", "ct_thin_slice", "--max_mm", "1"),
            "it has: max_slice_mm, min_instances",
        ),
        (
            ("cohort", "run", "ct_thin_slice", "--max_slice_mm", "thin"),
            "is DOUBLE; the value given is not",
        ),
        (("cohort", "run", "ct_thin_slice", "--timeout", "inf"), "time limit is inf seconds"),
        (("cohort", "run", "ct_thin_slice", "--timeout", "nan"), "more than 0 and at most"),
        (("cohort", "run", "ct_thin_slice", "--timeout", "-1"), "more than 0 and at most"),
        (("vacuum", "--retention-days", "nan"), "not a number of days"),
        (("vacuum", "--retention-days", "1e15"), "not a number of days"),
        (("cohort", "save", "mine", "--sql", "/no/such/file.sql"), "no such file"),
        (("cohort", "show", "nothing_like_it_xyz"), "no cohort named"),
        (("cohort", "diff", "nothing_like_it_xyz", "y"), "no run of a cohort named"),
        (("cohort", "export", "nothing_like_it_xyz", "a.csv"), "no run of a cohort named"),
        (("cohort", "export", "pt_ct_pairs", "a.unknown"), "the name does not give a format"),
        (("cohort", "verify", "/no/such/export"), "no such file"),
        (("select", "series", "Modality"), "a condition is NAME=VALUE"),
        (("select", "series", "Modalitee=CT"), "not a column of series"),
        (("select", "nothing"), "no table or view named"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_to_do(command, arguments, says: str) -> None:
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_every_command_has_help_with_an_example(command) -> None:
    names = [
        "list",
        "run",
        "save",
        "show",
        "diff",
        "rerun",
        "union",
        "intersect",
        "minus",
        "split",
        "sample",
        "export",
        "verify",
    ]
    for arguments in [("select",), ("cohort",), *(("cohort", name) for name in names)]:
        code, out, _ = command(*arguments, "--help")
        assert (code, "Example:" in out) == (0, True), arguments
