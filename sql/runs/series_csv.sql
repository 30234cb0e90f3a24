-- The fourteen columns of the series CSV of django_dicom, one row per series of the members.
select
    series.series_key as "ID",
    series.EchoTime,
    series.RepetitionTime,
    series.InversionTime,
    series.PixelSpacing,
    series.SliceThickness,
    studies.StudyDescription,
    series.SequenceName,
    series.pulse_sequence_name as PulseSequenceName,
    studies.StudyTime,
    studies.StudyDate,
    series.Manufacturer,
    series.ScanningSequence,
    series.SequenceVariant
from series
semi join members on series.series_key = members.series_key
left join studies on series.study_key = studies.study_key
order by series.series_key
