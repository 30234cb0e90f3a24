"""Generate the DICOM JSON model of many instances in bulk, from stored rows.

In: a catalog and instance ids. Out: the members of each model as JSON. They equal the output of
``dicom_json`` for one header (checked by a test), with three exceptions: group lengths are left
out, as PS3.18 F.2.2 requires, values of more than 256 bytes are references, and binary values of
big endian files are in little endian, as clients are not told the transfer syntax. SQL generates
the text of each element; this module nests items in their sequences, innermost first, for all
instances at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.dicom.element import keyword_of
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

PLACE = "\x01"
"""Placeholder for the URL of an instance: a character that no JSON text contains."""


def models(
    connection: duckdb.DuckDBPyConnection, ids: Sequence[int], tags: Sequence[str] = ()
) -> dict[int, str]:
    """Return instance_id → members of its model, without the enclosing braces.

    Parameters
    ----------
    connection
        Session of a catalog, used by this thread only.
    ids
        Values of ``instance_id``.
    tags
        Top-level elements to include, with everything in them; by default every element.

    Returns
    -------
    dict[int, str]
        ``'"00080018":{"vr":"UI","Value":["1.2.3"]},…'`` for every instance with such an element.
        ``PLACE`` in a URL is the placeholder for the URL of the instance.
    """
    if not ids:
        return {}
    rows = connection.sql(
        statement("attributes", "dicomweb"),
        params=[
            list(ids), min(ids), max(ids), list(tags),
            [name for tag in tags for name in {tag, keyword_of(tag) or tag}],
        ],
    ).pl()  # fmt: skip
    flat = _nested(rows).sort("tag")
    members = flat.group_by("instance_id").agg(pl.col("member").str.join(","))
    return dict(members.rows())


def _nested(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the top-level elements, with their items."""
    rows = rows.with_columns(depth=pl.col("path").str.count_matches("[", literal=True))
    depths = rows["depth"].unique().to_list()
    items = rows.clear()
    for depth in range(max(depths, default=0), -1, -1):
        at_depth = rows.filter(pl.col("depth") == depth)
        sequences = at_depth.filter(pl.col("is_sequence"))
        if sequences.height:
            plain = at_depth.filter(~pl.col("is_sequence"))
            at_depth = pl.concat([plain, _filled(sequences, items)])
        items = at_depth
    return items


def _filled(sequences: pl.DataFrame, inner: pl.DataFrame) -> pl.DataFrame:
    """Return sequences with the JSON of their items, built from the elements one level deeper."""
    place = pl.col("path").str.extract(r"^(.*)\[\d+\]$", 1).alias("sequence")
    number = pl.col("path").str.extract(r"\[(\d+)\]$", 1).cast(pl.Int64).alias("item")
    items = (
        inner.with_columns(place, number)
        .sort("tag")
        .group_by("instance_id", "sequence", "item", maintain_order=True)
        .agg(pl.col("member").str.join(",").alias("item_json"))
    )
    own = pl.concat_str(
        pl.when(pl.col("path") == "").then(pl.lit("")).otherwise(pl.col("path") + "."), "name"
    ).alias("sequence")
    # An item without elements has no rows, so take the number of items from the sequence.
    wanted = sequences.with_columns(own).with_columns(
        pl.int_ranges(0, pl.col("item_count")).alias("item")
    )
    filled = (
        wanted.explode("item", empty_as_null=True)
        .join(items, on=["instance_id", "sequence", "item"], how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("item").is_not_null()).then(
                "{" + pl.col("item_json").fill_null("") + "}"
            ).alias("item_json")
        )
        .group_by("instance_id", "path", "tag", maintain_order=True)
        .agg(pl.col("item_json").drop_nulls().str.join(",").alias("inside"))
    )  # fmt: skip
    member = (
        pl.when(pl.col("item_count") > 0)
        .then('"' + pl.col("tag") + '":{"vr":"SQ","Value":[' + pl.col("inside") + "]}")
        .otherwise('"' + pl.col("tag") + '":{"vr":"SQ"}')
        .alias("member")
    )
    return sequences.drop("member").join(
        filled, on=["instance_id", "path", "tag"], how="left"
    ).with_columns(member).select(sequences.columns)  # fmt: skip
