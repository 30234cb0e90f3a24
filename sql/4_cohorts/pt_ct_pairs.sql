-- Series of PT and CT of one study that share a frame of reference: `from pt_ct_pairs()`.
--
-- A series is a member if the study has one of the other modality; with `same_frame` false the two
-- need not share FrameOfReferenceUID. Localizers are left out.
--
-- depends: series
-- param:   same_frame | BOOLEAN | true | whether both must state one FrameOfReferenceUID
create or replace macro pt_ct_pairs(same_frame := true) as table
with candidates as (
    select
        series_key,
        study_key,
        Modality,
        FrameOfReferenceUID
    from series
    where
        Modality in ('PT', 'CT')
        and not coalesce(list_contains(ImageType, 'LOCALIZER'), false)
)

select one.series_key
from candidates as one
semi join candidates as other
    on
        one.study_key = other.study_key
        and one.Modality != other.Modality
        and (not same_frame or one.FrameOfReferenceUID = other.FrameOfReferenceUID);
