"""Define tables as assets, with keys, edges, descriptions and columns from the headers in ``sql/``.

Derived stored tables are materialized a batch at a time. Tables that people and algorithms append
to are external assets, which Dagster shows but does not run, and so are views, which DuckDB
computes when they are queried. ``instances`` is a stored table with the result of a view, so it
depends on the stored tables that the view reads.
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from pipelines.partitions import batches, partition_of
from pipelines.resources import Intake
from pipelines.show import batch_metadata, listing_metadata, removal_metadata, rerun_metadata
from warehouse.catalog.batch_report import describe_batch
from warehouse.sqlfiles import Model, read_models
from warehouse.store.tables import named

VIEWS = {model.name: model for model in read_models() if model.is_view}
"""All tables and views of the catalog; macros are not assets."""

LISTING = "source_listing"
"""Asset of the files in the sources, compared with ``files``; ingests start from it."""

VANISHED = "vanished_files"
"""Asset of the rows of ``files`` whose files no longer exist in the sources."""


@dg.asset(
    name=LISTING,
    group_name="0_sources",
    kinds={"python"},
    freshness_policy=dg.FreshnessPolicy.time_window(
        warn_window=dt.timedelta(hours=26), fail_window=dt.timedelta(hours=50)
    ),
)
def source_listing(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> dg.MaterializeResult[None]:
    """All files of the sources; new and changed ones are planned as batches.

    The batches become partitions of the stored tables. The sensor ``new_files`` starts their runs;
    without it they have to be materialized by hand.
    """
    store_batches = intake.warehouse().batches
    planned = store_batches.plan(*intake.looked_into(), settings=intake.settings)
    waiting = store_batches.waiting()
    context.instance.add_dynamic_partitions(str(batches.name), waiting)
    return dg.MaterializeResult(metadata=listing_metadata(planned, waiting))


@dg.asset(name=VANISHED, deps=[LISTING], group_name="0_sources", kinds={"python"})
def vanished_files(intake: dg.ResourceParam[Intake]) -> dg.MaterializeResult[None]:
    """Known files that no longer exist; removed if the policy is `remove`.

    The run fails if a source has no file left: it is probably not mounted.
    """
    report = intake.warehouse().remove(
        *intake.looked_into(), delete=intake.vanished == "remove", settings=intake.settings
    )
    return dg.MaterializeResult(metadata=removal_metadata(report, intake.vanished))


def is_made(model: Model) -> bool:
    """Return whether the rows of a table are derived from files, batch by batch."""
    return model.table is not None and not named(model.table).is_appended


def parents(model: Model) -> set[str]:
    """Return the assets that a table or view is computed from.

    A stored table depends on the listing of the sources. One with the result of a view also depends
    on the stored tables that the view reads, directly or through other views.
    """
    reads = {name for name in model.depends if name in VIEWS}
    if not is_made(model):
        return reads
    assets = {LISTING}
    pending = [model.stores] if model.stores else []
    while pending:
        upstream = VIEWS[pending.pop()]
        if upstream.table:
            assets.add(upstream.name)
        else:
            pending += [name for name in upstream.depends if name in VIEWS]
    return assets


def table_spec(model: Model) -> dg.AssetSpec:
    """Return the asset spec of a model, from its header."""
    columns = [dg.TableColumn(c.name, c.type, c.description) for c in model.columns]
    grain = dg.TableConstraints([f"one row per {', '.join(model.grain)}"])
    return dg.AssetSpec(
        model.name,
        deps=sorted(parents(model)),
        description=model.description,
        group_name=model.layer,
        kinds={"deltalake", "parquet"} if model.table else {"duckdb", "sql"},
        metadata={"dagster/column_schema": dg.TableSchema(columns, grain)},
    )


@dg.multi_asset(
    name="stored_tables",
    specs=[table_spec(model) for model in VIEWS.values() if is_made(model)],
    partitions_def=batches,
    # Runs of this pool are serialized, because each uses every processor.
    pool="ingest",
)
def stored_tables(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> Iterator[dg.MaterializeResult[None]]:
    """Read the files of one batch, and replace its rows in every stored table in one commit."""
    key_of_batch = partition_of(context, "the key of a batch")
    wh = intake.warehouse()
    report = wh.batches.run(key_of_batch, settings=intake.settings)
    batch = describe_batch(intake.root, key_of_batch)
    for key in sorted(context.selected_asset_keys):
        metadata = batch_metadata(report, batch, key.to_user_string())
        yield dg.MaterializeResult(asset_key=key, metadata=metadata)


views = [table_spec(model) for model in VIEWS.values() if not is_made(model)]


@dg.asset(
    name="cohort_runs",
    # After vanished files are removed, if the policy says so.
    deps=[VANISHED, *(model.name for model in VIEWS.values() if model.table)],
    group_name="4_cohorts",
    kinds={"parquet"},
)
def cohort_runs(intake: dg.ResourceParam[Intake]) -> dg.MaterializeResult[None]:
    """Members of every cohort that was saved or run before, on the newest version.

    Cohorts whose query fails are named in the metadata; the job fails after all others are done.
    """
    reruns = intake.warehouse().rerun_all()
    metadata = rerun_metadata(reruns)
    failed = [rerun.cohort for rerun in reruns if rerun.why_not]
    if failed:
        raise dg.Failure(f"cohorts whose query failed: {', '.join(failed)}", metadata=metadata)
    return dg.MaterializeResult(metadata=metadata)
