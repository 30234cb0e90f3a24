"""Tables as assets. Keys, edges, descriptions and columns come from the headers in ``sql/``.

Stored tables are materialized, a batch at a time; those that people and algorithms append to are
assets that Dagster knows and does not run. Views are computed by DuckDB when somebody asks, so they
are such assets too. ``instances`` is a stored table that holds the answer of a view, so it stands
behind the stored tables that this view reads.
"""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from pipelines.partitions import batches
from pipelines.resources import Intake
from pipelines.show import batch_metadata, listing_metadata, removal_metadata, rerun_metadata
from warehouse.catalog.batch_report import describe_batch
from warehouse.sqlfiles import Model, read_models
from warehouse.store.tables import named

VIEWS = {model.name: model for model in read_models() if model.is_view}
"""Every table and view of the catalog; macros are no assets."""

LISTING = "source_listing"
"""What the sources hold, compared with ``files``; where everything begins."""

VANISHED = "vanished_files"
"""What ``files`` holds and the sources do not any more."""


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
    without it they wait to be materialized by hand.
    """
    batches_of_store = intake.warehouse().batches
    found = batches_of_store.plan(*intake.looked_into(), settings=intake.settings)
    waiting = batches_of_store.waiting()
    context.instance.add_dynamic_partitions(str(batches.name), waiting)
    return dg.MaterializeResult(metadata=listing_metadata(found, waiting))


@dg.asset(name=VANISHED, deps=[LISTING], group_name="0_sources", kinds={"python"})
def vanished_files(intake: dg.ResourceParam[Intake]) -> dg.MaterializeResult[None]:
    """Known files that no longer exist; removed if the policy is `remove`.

    A source of which nothing is left fails the run: most likely it is not mounted.
    """
    found = intake.warehouse().remove(
        *intake.looked_into(), delete=intake.vanished == "remove", settings=intake.settings
    )
    return dg.MaterializeResult(metadata=removal_metadata(found, intake.vanished))


def is_made(model: Model) -> bool:
    """Return whether the rows of a table are derived from files, batch by batch."""
    return model.table is not None and not named(model.table).is_appended


def parents(model: Model) -> set[str]:
    """Return the assets that a table or view is computed from.

    A stored table comes from the listing of the sources. One that holds the answer of a view also
    comes from the stored tables that the view reads, directly or through other views.
    """
    reads = {name for name in model.depends if name in VIEWS}
    if not is_made(model):
        return reads
    behind = {LISTING}
    waiting = [model.stores] if model.stores else []
    while waiting:
        read = VIEWS[waiting.pop()]
        if read.table:
            behind.add(read.name)
        else:
            waiting += [name for name in read.depends if name in VIEWS]
    return behind


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
    # Runs of this pool wait for one another: each of them uses every processor already.
    pool="ingest",
)
def stored_tables(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> Iterator[dg.MaterializeResult[None]]:
    """Read the files of one batch, and replace its rows in every stored table in one commit."""
    wh = intake.warehouse()
    report = wh.batches.run(context.partition_key, settings=intake.settings)
    batch = describe_batch(intake.root, context.partition_key)
    for key in sorted(context.selected_asset_keys):
        metadata = batch_metadata(report, batch, key.to_user_string())
        yield dg.MaterializeResult(asset_key=key, metadata=metadata)


views = [table_spec(model) for model in VIEWS.values() if not is_made(model)]


@dg.asset(
    name="cohort_runs",
    # After those that vanished are taken out, if they are.
    deps=[VANISHED, *(model.name for model in VIEWS.values() if model.table)],
    group_name="4_cohorts",
    kinds={"parquet"},
)
def cohort_runs(intake: dg.ResourceParam[Intake]) -> dg.MaterializeResult[None]:
    """Members of every cohort that was saved or run before, on the newest version.

    A question that cannot be asked any more is named in the metadata and fails the run, after all
    others were asked.
    """
    reruns = intake.warehouse().rerun_all()
    metadata = rerun_metadata(reruns)
    failed = [rerun.cohort for rerun in reruns if rerun.why_not]
    if failed:
        raise dg.Failure(f"cohorts that cannot be asked: {', '.join(failed)}", metadata=metadata)
    return dg.MaterializeResult(metadata=metadata)
