-- One row per channel of a waveform, such as a lead of an ECG: its source and unit.
--
-- Samples are a binary value of their multiplex group; a sample is sample × Channel Sensitivity × correction
-- factor + baseline, in the unit of the sensitivity, at sample / Sampling Frequency + skew. An object of
-- which no element was read has one row without a channel.
--
-- grain:   instance_id, group_item, channel_item
-- depends: instances, normal_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  group_item | BIGINT | index in the Waveform Sequence, from 0; null if elements were not read
-- column:  channel_item | BIGINT | index in the Channel Definition Sequence, from 0
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  MultiplexGroupLabel | VARCHAR | Multiplex Group Label (003A,0020)
-- column:  WaveformOriginality | VARCHAR | Waveform Originality (003A,0004): ORIGINAL or DERIVED
-- column:  NumberOfWaveformSamples | BIGINT | Number of Waveform Samples (003A,0010), per channel
-- column:  SamplingFrequency | DOUBLE | Sampling Frequency (003A,001A), Hz
-- column:  duration_s | DOUBLE | s that the samples last
-- column:  WaveformBitsAllocated | BIGINT | Waveform Bits Allocated (5400,1004)
-- column:  WaveformSampleInterpretation | VARCHAR | Waveform Sample Interpretation (5400,1006): SB, UB, SS, US, …
-- column:  ChannelLabel | VARCHAR | Channel Label (003A,0203)
-- column:  channel_source | VARCHAR | meaning of the Channel Source, such as Lead I
-- column:  channel_source_code | VARCHAR | its scheme and value
-- column:  ChannelSensitivity | DOUBLE | Channel Sensitivity (003A,0210), units per sample value
-- column:  ChannelSensitivityCorrectionFactor | DOUBLE | Channel Sensitivity Correction Factor (003A,0212)
-- column:  ChannelBaseline | DOUBLE | Channel Baseline (003A,0213), in the unit
-- column:  ChannelSampleSkew | DOUBLE | Channel Sample Skew (003A,0215), samples
-- column:  unit | VARCHAR | code of the Channel Sensitivity Units, such as uV; null if none is stated
-- column:  FilterLowFrequency | DOUBLE | Filter Low Frequency (003A,0220), Hz
-- column:  FilterHighFrequency | DOUBLE | Filter High Frequency (003A,0221), Hz
-- column:  samples_sha256 | VARCHAR | digest of the samples of the group; key to `blobs`
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view waveform_channels as
with said as (
    select
        instance_id,
        try_cast(regexp_extract(path, '^WaveformSequence\[(\d+)\]', 1) as bigint) as group_item,
        try_cast(nullif(regexp_extract(path, '\.ChannelDefinitionSequence\[(\d+)\]', 1), '') as bigint) as channel_item,
        regexp_replace(path, '^WaveformSequence\[\d+\](\.ChannelDefinitionSequence\[\d+\])?\.?', '') as inner_path,
        tag,
        text,
        "integer",
        "real",
        sha256
    from normal_elements
    where
        tag in (
            '00080100', '00080102', '00080104', '003A0004', '003A0010', '003A001A', '003A0020', '003A0203',
            '003A0210', '003A0212', '003A0213', '003A0215', '003A0220', '003A0221', '54001004', '54001006',
            '54001010'
        )
        and "index" = 0
        and path between 'WaveformSequence[' and 'WaveformSequence]'
),

-- Of each group (channel_item is null) and each channel.
gathered as (
    select
        instance_id,
        group_item,
        channel_item,
        any_value(text) filter (where tag = '003A0020' and inner_path = '') as MultiplexGroupLabel,
        any_value(text) filter (where tag = '003A0004' and inner_path = '') as WaveformOriginality,
        any_value("integer") filter (where tag = '003A0010' and inner_path = '') as NumberOfWaveformSamples,
        any_value("real") filter (where tag = '003A001A' and inner_path = '') as SamplingFrequency,
        any_value("integer") filter (where tag = '54001004' and inner_path = '') as WaveformBitsAllocated,
        any_value(text) filter (where tag = '54001006' and inner_path = '') as WaveformSampleInterpretation,
        any_value(text) filter (where tag = '003A0203' and inner_path = '') as ChannelLabel,
        any_value("real") filter (where tag = '003A0210' and inner_path = '') as ChannelSensitivity,
        any_value("real") filter (where tag = '003A0212' and inner_path = '') as ChannelSensitivityCorrectionFactor,
        any_value("real") filter (where tag = '003A0213' and inner_path = '') as ChannelBaseline,
        any_value("real") filter (where tag = '003A0215' and inner_path = '') as ChannelSampleSkew,
        any_value("real") filter (where tag = '003A0220' and inner_path = '') as FilterLowFrequency,
        any_value("real") filter (where tag = '003A0221' and inner_path = '') as FilterHighFrequency,
        any_value(text) filter (where tag = '00080104' and inner_path = 'ChannelSourceSequence[0]') as channel_source,
        any_value(text) filter (where tag = '00080102' and inner_path = 'ChannelSourceSequence[0]') || ':'
        || any_value(text) filter (where tag = '00080100' and inner_path = 'ChannelSourceSequence[0]') as channel_source_code,
        any_value(text) filter (where tag = '00080100' and inner_path = 'ChannelSensitivityUnitsSequence[0]') as unit,
        any_value(sha256) filter (where tag = '54001010' and inner_path = '') as samples_sha256
    from said
    group by instance_id, group_item, channel_item
)

select
    instances.instance_id,
    groups.group_item,
    channels.channel_item,
    instances.series_key,
    instances.SOPInstanceUID,
    groups.MultiplexGroupLabel,
    groups.WaveformOriginality,
    groups.NumberOfWaveformSamples,
    groups.SamplingFrequency,
    if(
        groups.SamplingFrequency > 0, groups.NumberOfWaveformSamples / groups.SamplingFrequency, null
    ) as duration_s,
    groups.WaveformBitsAllocated,
    groups.WaveformSampleInterpretation,
    channels.ChannelLabel,
    channels.channel_source,
    channels.channel_source_code,
    channels.ChannelSensitivity,
    channels.ChannelSensitivityCorrectionFactor,
    channels.ChannelBaseline,
    channels.ChannelSampleSkew,
    channels.unit,
    channels.FilterLowFrequency,
    channels.FilterHighFrequency,
    groups.samples_sha256,
    unread.not_read
from instances
left join unread on instances.instance_id = unread.instance_id and unread.is_without_elements
left join gathered as groups on instances.instance_id = groups.instance_id and groups.channel_item is null
left join gathered as channels
    on
        groups.instance_id = channels.instance_id and groups.group_item = channels.group_item
        and channels.channel_item is not null
where
    groups.group_item is not null
    or unread.not_read is not null and starts_with(instances.SOPClassUID, '1.2.840.10008.5.1.4.1.1.9.');
