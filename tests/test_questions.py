"""docs/questions.md is true: both queries of every question give the answer that is printed."""

import os
import re
import shlex
from pathlib import Path

import pydicom.data
import pytest
from polars.testing import assert_frame_equal

from tests.command_line import run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
FILES = Path(pydicom.data.__path__[0]) / "test_files"
HEAD, *QUESTIONS = re.split(r"^## ", PAGE, flags=re.MULTILINE)


def block(text, language):
    (found,) = re.findall(rf"```{language}\n(.*?)\n```", text, re.DOTALL)
    return found


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the first lines of the page define, after its first command."""
    home = tmp_path_factory.mktemp("home")
    _, command = block(HEAD, "sh").split("\n", 1)
    words = [word.replace("~", str(home)) for word in shlex.split(command.replace("\\\n", " "))]
    assert words[0] == "dicom-warehouse"
    done = run(*words[1:], "--workers", "1", cwd=FILES)
    assert done.returncode == 0, done.stderr
    defined = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "HOME", str(home))
        exec(block(HEAD, "python"), defined)
    return defined


def test_there_are_twenty():
    numbers = [int(question.split(".")[0]) for question in QUESTIONS]
    assert numbers == list(range(1, 21))


LONG = "16. "
"""Begins the question that takes longer than the others."""


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(text, marks=pytest.mark.long("test_sql_and_polars_give_the_answer"))
        if text.startswith(LONG)
        else text
        for text in QUESTIONS
    ],
    ids=lambda text: text.split("\n")[0],
)
def test_sql_and_polars_give_the_answer(question, names):
    asked = names["wh"].sql(block(question, "sql"))
    assert str(asked).rstrip() == block(question, "text")
    answer = {**names}
    exec(block(question, "python"), answer)
    assert_frame_equal(answer["answer"], asked.pl())
