"""What the macros of sql/0_macros give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from warehouse.elements.values import decode

if TYPE_CHECKING:
    from tests.small_tables import View


@pytest.mark.parametrize(
    ("written", "alphabetic", "ideographic", "phonetic"),
    [
        ("Doe^Jane", "Doe^Jane", None, None),
        ("Doe^Jane^^Dr", "Doe^Jane^^Dr", None, None),
        ("Y^T=山田^太郎=やまだ", "Y^T", "山田^太郎", "やまだ"),
        ("=山", None, "山", None),
        ("A==P", "A", None, "P"),
        ('O\'Neill "Bob"^{x}', 'O\'Neill "Bob"^{x}', None, None),
        ("^", "^", None, None),
    ],
)
def test_a_name_comes_back_as_written_and_in_its_groups(
    view: View, written: str, alphabetic: str | None, ideographic: str | None, phonetic: str | None
) -> None:
    (value,) = decode("PN", written.encode(), charsets=["utf8"])
    answer = view.connection.execute(
        "select person_name_text($1), person_name_group($1, 'alphabetic'),"
        " person_name_group($1, 'ideographic'), person_name_group($1, 'phonetic')",
        [value.text],
    ).fetchall()
    assert answer == [(written, alphabetic, ideographic, phonetic)]


@pytest.mark.parametrize("name", [None, ""])
def test_no_name_is_null(view: View, name: str | None) -> None:
    answer = view.connection.execute(
        "select person_name_text($1), person_name_group($1, 'alphabetic')", [name]
    ).fetchall()
    assert answer == [(None, None)]
