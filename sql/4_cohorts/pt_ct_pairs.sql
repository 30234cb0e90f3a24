-- Series of PT and CT of one study that share a frame of reference: `from pt_ct_pairs()`.
--
-- A series is a member if the study has one of the other modality; with `same_frame` false the two
-- need not share FrameOfReferenceUID. Series with a localizer are left out.
--
-- depends: series, instances
-- param:   same_frame | BOOLEAN | true | whether both must state one FrameOfReferenceUID
create or replace macro pt_ct_pairs(same_frame := true) as table
with candidates as (
    select
        series.series_key,
        series.study_key,
        series.Modality,
        series.FrameOfReferenceUID
    from series
    anti join (
        select instances.series_key
        from instances
        where list_contains(instances.ImageType, 'LOCALIZER')
    ) as localizers on series.series_key = localizers.series_key
    where
        series.Modality in ('PT', 'CT')
        and not coalesce(list_contains(series.ImageType, 'LOCALIZER'), false)
)

select one.series_key
from candidates as one
semi join candidates as other
    on
        one.study_key = other.study_key
        and one.Modality != other.Modality
        and (not same_frame or one.FrameOfReferenceUID = other.FrameOfReferenceUID);
