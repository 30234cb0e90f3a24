"""Hand labels of real MR series, and how often the rules of sequence types agree with them.

    python -m tests.sequence_labels FOLDER...    # ask again, write the table and the page

``sequence_labels.csv`` has a line per series: what a person says it is (empty: the header and the
picture do not tell), what the rules say, what they said of the hold-out when nobody had looked at
it (``first_answer``), where the series is published, and why the person says so. Labels were
written before the answers were known.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections import Counter
from pathlib import Path

TABLE = Path(__file__).with_suffix(".csv")
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "sequence-types.md"
FIELDS = ("series_key", "label", "answer", "first_answer", "part", "source", "why")
BEGIN, END = "<!-- confusion: python -m tests.sequence_labels -->", "<!-- end of confusion -->"

Row = dict[str, str]


def read_labels() -> list[Row]:
    """Return the rows of the table."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def confusion(rows: list[Row]) -> str:
    """Return the agreement of each part and the confusion table as Markdown."""
    parts = [
        ("tuning set", "answer", [row for row in rows if row["part"] == "tuning"]),
        ("hold-out, first answer", "first_answer", [r for r in rows if r["part"] == "hold-out"]),
        ("hold-out, after its errors were mended", "answer", [r for r in rows if r["part"] == "hold-out"]),
    ]  # fmt: skip
    lines = [
        "| series | number | right | wrong | no answer |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, field, chosen in parts:
        right = sum(row[field] == row["label"] for row in chosen)
        silent = sum(row[field] == "" != row["label"] for row in chosen)
        wrong = len(chosen) - right - silent
        share = f"{right} ({right / len(chosen):.1%})"
        lines.append(f"| {name} | {len(chosen)} | {share} | {wrong} | {silent} |")
    lines += [
        "",
        "| label by hand | rules, today | first answer of the hold-out |",
        "| --- | --- | --- |",
    ]
    for label in sorted({row["label"] for row in rows}, key=str.lower):
        chosen = [row for row in rows if row["label"] == label]
        held = [row for row in chosen if row["part"] == "hold-out"]
        cells = (label or "(none)", _counted(chosen, "answer"), _counted(held, "first_answer"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _counted(rows: list[Row], field: str) -> str:
    counts = Counter(row[field] or "(none)" for row in rows)
    return ", ".join(f"{answer} {count}" for answer, count in counts.most_common())


def in_page(page: str, table: str) -> str:
    """Return the page with this table between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}"


def main(folders: list[str]) -> None:
    """Ask a warehouse of these folders, keep its answers, write the page."""
    import warehouse

    with tempfile.TemporaryDirectory() as folder:
        wh = warehouse.open(Path(folder) / "w", create=True)
        wh.ingest(*folders)
        found = dict(wh.sql("select series_key, sequence_type from sequence_types").fetchall())
    rows = read_labels()
    for row in rows:
        if row["series_key"] in found:
            row["answer"] = found[row["series_key"]] or ""
    with TABLE.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    PAGE.write_text(in_page(PAGE.read_text("utf-8"), confusion(rows)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
