"""Define maintenance ops: compact and vacuum."""

import dagster as dg

from pipelines.resources import Intake


@dg.op(out=dg.Out(dg.Nothing))
def compact_parts(context: dg.OpExecutionContext, intake: dg.ResourceParam[Intake]) -> None:
    """Merge small parts into few; ingests may run meanwhile."""
    done = intake.warehouse().compact()
    context.add_output_metadata(
        {"parts_before": done.before, "parts_after": done.after, "version": done.version}
    )


@dg.op(ins={"after": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def vacuum_parts(context: dg.OpExecutionContext, intake: dg.ResourceParam[Intake]) -> None:
    """Delete parts that no version of the last week contains."""
    done = intake.warehouse().vacuum(delete=True)
    context.add_output_metadata(
        {"deleted_parts": len(done.spare), "deleted_bytes": done.size_bytes, "in_use": done.in_use}
    )


@dg.job(description="Merge small parts, and delete those that no recent version needs.")
def maintain() -> None:
    """Run what the commands `compact` and `vacuum` run."""
    vacuum_parts(compact_parts())
