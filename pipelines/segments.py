"""Volumes of segments as an asset: counting reads pixels, so it is done when it is asked for.

The rows are those of the table ``measured_segments``, which is told what was added to it; the view
``segment_volumes`` has those that hold.
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
    """Voxels and ml of every segment that is new, or whose file or images have changed.

    An object whose frames cannot be read, because its source is away, is named in the metadata and
    fails the run after all others were counted; it is tried again by the next one.
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
