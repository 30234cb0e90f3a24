-- MR series by ScanningSequence: `from mr_by_sequence(scanning_sequence := ['GR', 'IR'])`.
--
-- The values are compared as a set: all of them and no other, in any order.
--
-- depends: series
-- param:   scanning_sequence | VARCHAR[] | [SE] | ScanningSequence, as a set
-- param:   acquisition_type | VARCHAR | null | MRAcquisitionType, 2D or 3D; null takes any
create or replace macro mr_by_sequence(scanning_sequence := ['SE'], acquisition_type := null) as table
select
    series_key,
    ScanningSequence,
    MRAcquisitionType
from series
where
    Modality = 'MR'
    and list_sort(list_distinct(ScanningSequence)) = list_sort(list_distinct(scanning_sequence))
    and (acquisition_type is null or MRAcquisitionType = acquisition_type);
