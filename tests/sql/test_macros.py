"""What the macros of sql/0_macros give."""

from __future__ import annotations

from datetime import datetime
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


@pytest.mark.parametrize(
    ("length", "direction"),
    [(1.2, [0.6, 0.0, 0.8]), (0.6, [0.6, 0.0, 0.8]), (0.4, None), (1.6, None), (0, None)],
)
def test_a_gradient_direction_has_length_one(
    view: View, length: float, direction: list[float] | None
) -> None:
    vector = [0.6 * length, -0.0, 0.8 * length]
    ((found,),) = view.connection.execute("select gradient_direction($1)", [vector]).fetchall()
    assert found == (direction and pytest.approx(direction))


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["2024-01-02 23:59:57", "2024-01-02 00:00:01", None], "2024-01-02 23:59:57"),
        (["2024-01-02 23:59:57", "2024-01-03 00:00:01"], "2024-01-02 23:59:57"),
        (["2024-01-02 01:00:00", "2024-01-02 12:30:00"], "2024-01-02 01:00:00"),
        (["2024-01-02 13:00:00", "2024-01-02 12:30:00"], "2024-01-02 12:30:00"),
        ([None], None),
    ],
)
def test_times_of_one_date_may_begin_before_midnight(
    view: View, times: list[str | None], first: str | None
) -> None:
    ((found,),) = view.connection.execute(
        "select first_time(cast(stamp as timestamp)) from (select unnest($1::varchar[]) as stamp)",
        [times],
    ).fetchall()
    assert found == (first and datetime.fromisoformat(first))
