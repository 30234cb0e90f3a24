"""Define the asset of segment volumes, which runs on request because counting reads pixels.

Its rows are those of the table ``measured_segments``, which it reports as materialized; the view
``segment_volumes`` has the current ones.
"""

import dagster as dg

from pipelines.resources import Intake


@dg.asset(
    name="segment_measurements", deps=["segmentations", "segment_frames"],
    group_name="3_features", kinds={"python", "deltalake"}, pool="pixels",
)  # fmt: skip
def segment_measurements(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> dg.MaterializeResult[None]:
    """Voxels and ml of segments that are new, or whose file or images have changed.

    Objects whose frames cannot be read, such as those with a missing source, are named in the
    metadata and fail the run after all others were counted; the next run tries them again.
    """
    done = intake.warehouse().measure_segments()
    counts = {
        "objects": done.objects, "segments": done.segments, "without_volume": done.without_volume,
        "failed": len(done.failures),
    }  # fmt: skip
    context.log_event(dg.AssetMaterialization("measured_segments", metadata=counts))
    first = [f"{uid}: {why}" for uid, why in list(done.failures.items())[:20]]
    metadata = counts | {"failures": first}
    if done.failures:
        raise dg.Failure("segmentations whose frames cannot be read", metadata=metadata)
    return dg.MaterializeResult(metadata=metadata)
