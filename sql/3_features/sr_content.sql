-- One row per content item of a structured report or key object selection, of any template.
--
-- The root is the document. `path` is where an item lies in `elements`; `position` numbers items as DICOM
-- does (Content Item Identifier): the root is [1], its second item [1, 2]. Items that refer to another one
-- (by-reference relationships) are rows of their own and are never followed, so that loops end. A report
-- of which no element was read has one row without an item.
--
-- grain:   instance_id, path
-- depends: instances, normal_elements, unread
-- example: select position, ValueType, concept.CodeMeaning as name, value, unit.CodeValue as unit from sr_content order by instance_id, position limit 20
-- column:  instance_id | BIGINT | key to `instances`
-- column:  path | VARCHAR | '' for the document, else the sequence path of the item; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  parent_path | VARCHAR | path of the item that holds it; null for the document
-- column:  position | BIGINT[] | position in the tree as DICOM numbers content items, from [1]
-- column:  depth | BIGINT | 0 for the document
-- column:  RelationshipType | VARCHAR | Relationship Type (0040,A010) to the item that holds it
-- column:  ValueType | VARCHAR | Value Type (0040,A040); null for an item by reference
-- column:  concept | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Concept Name Code Sequence (0040,A043)
-- column:  value | VARCHAR | the value as text: of TEXT, PNAME, UIDREF, DATE, TIME, DATETIME; of CODE its meaning, of NUM its number, of SCOORD and SCOORD3D the graphic type, of TCOORD the range type
-- column:  concept_code | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first item of the Concept Code Sequence (0040,A168)
-- column:  concept_codes | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all items of the Concept Code Sequence, in order; null if there is none
-- column:  NumericValue | DOUBLE | Numeric Value (0040,A30A), in unit
-- column:  FloatingPointValue | DOUBLE | Floating Point Value (0040,A161), the same number where text has too few digits for it
-- column:  unit | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Measurement Units Code Sequence (0040,08EA)
-- column:  number_qualifier | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Numeric Value Qualifier Code Sequence (0040,A301), such as 114003 Divide by zero
-- column:  instance_references | STRUCT(ReferencedSOPClassUID VARCHAR, ReferencedSOPInstanceUID VARCHAR, ReferencedFrameNumber BIGINT[], ReferencedSegmentNumber BIGINT[])[] | items of the Referenced SOP Sequence (0008,1199), in order; null if there is none
-- column:  ReferencedContentItemIdentifier | BIGINT[] | Referenced Content Item Identifier (0040,DB73): position of the item that is referred to
-- column:  GraphicType | VARCHAR | Graphic Type (0070,0023) of SCOORD and SCOORD3D
-- column:  GraphicData | DOUBLE[] | Graphic Data (0070,0022): column, row of pixels; x, y, z in mm of SCOORD3D
-- column:  TemplateIdentifier | VARCHAR | Template Identifier (0040,DB00) of a container
-- column:  MappingResource | VARCHAR | Mapping Resource (0008,0105) of the template
-- column:  warning | VARCHAR | what is wrong with the item: an invalid number, two contradictory numbers, a reference to an ancestor (a loop) or to a missing item, no value type; null if nothing
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view sr_content as
with documents as (
    select
        instance_id,
        series_key,
        SOPInstanceUID
    from instances
    where starts_with(SOPClassUID, '1.2.840.10008.5.1.4.1.1.88.')
),

said as (
    select
        elements.instance_id,
        regexp_extract(elements.path, '^((?:ContentSequence\[\d+\]\.)*ContentSequence\[\d+\])', 1) as path,
        regexp_replace(elements.path, '^(?:ContentSequence\[\d+\]\.?)+', '') as inner_path,
        elements.tag,
        elements.vr,
        elements.vm,
        elements."index",
        elements.text,
        elements."integer",
        elements."real",
        elements.warning
    from normal_elements as elements
    semi join documents on elements.instance_id = documents.instance_id
    where
        elements.tag in (
            '00080100', '00080102', '00080104', '00080105', '00080119', '00080120', '00081150',
            '00081155', '00081160', '0040A010', '0040A040', '0040A120', '0040A121', '0040A122',
            '0040A123', '0040A124', '0040A130', '0040A160', '0040A161', '0040A30A', '0040DB00', '0040DB73',
            '0062000B', '00700022', '00700023'
        )
        and (
            elements.path in ('', 'ConceptNameCodeSequence[0]', 'ContentTemplateSequence[0]')
            -- Of the sorted table only the rows between both names are read.
            or elements.path between 'ContentSequence[' and 'ContentSequence]'
        )
),

-- A code, a reference, or what stands in the item itself.
parts as (
    select
        instance_id,
        path,
        inner_path,
        try_cast(regexp_extract(inner_path, '\[(\d+)\]$', 1) as bigint) as item,
        if(
            count(*) filter (where tag in ('00080100', '00080102', '00080104', '00080119', '00080120')) = 0,
            null, struct_pack(
                CodeValue := any_value(text) filter (where tag in ('00080100', '00080119', '00080120') and "index" = 0),
                CodingSchemeDesignator := any_value(text) filter (where tag = '00080102' and "index" = 0),
                CodeMeaning := any_value(text) filter (where tag = '00080104' and "index" = 0)
            )
        ) as code,
        if(
            count(*) filter (where tag in ('00081150', '00081155')) = 0, null, struct_pack(
                ReferencedSOPClassUID := any_value(text) filter (where tag = '00081150' and "index" = 0),
                ReferencedSOPInstanceUID := any_value(text) filter (where tag = '00081155' and "index" = 0),
                ReferencedFrameNumber := list("integer" order by "index") filter (where tag = '00081160' and vm > 0),
                ReferencedSegmentNumber := list("integer" order by "index") filter (where tag = '0062000B' and vm > 0)
            )
        ) as reference,
        any_value(text) filter (where tag = '0040A010' and "index" = 0) as RelationshipType,
        any_value(text) filter (where tag = '0040A040' and "index" = 0) as ValueType,
        any_value(if(vr = 'PN', person_name_text(text), text)) filter (
            where tag in ('0040A120', '0040A121', '0040A122', '0040A123', '0040A124', '0040A130', '0040A160', '00700023')
            and "index" = 0
        ) as value,
        any_value("real") filter (where tag = '0040A30A' and "index" = 0) as NumericValue,
        any_value("real") filter (where tag = '0040A161' and "index" = 0) as FloatingPointValue,
        any_value(text) filter (where tag = '0040A30A' and "index" = 0) as number_text,
        any_value(warning) filter (where tag = '0040A30A' and "index" = 0) as number_warning,
        list("integer" order by "index") filter (where tag = '0040DB73' and vm > 0) as target,
        any_value(text) filter (where tag = '00700023' and "index" = 0) as GraphicType,
        list("real" order by "index") filter (where tag = '00700022' and vm > 0) as GraphicData,
        any_value(text) filter (where tag = '0040DB00' and "index" = 0) as TemplateIdentifier,
        any_value(text) filter (where tag = '00080105' and "index" = 0) as MappingResource
    from said
    where
        inner_path in (
            '', 'ConceptNameCodeSequence[0]', 'ContentTemplateSequence[0]', 'MeasuredValueSequence[0]',
            'MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]', 'NumericValueQualifierCodeSequence[0]'
        )
        or regexp_full_match(inner_path, '(ConceptCodeSequence|ReferencedSOPSequence)\[\d+\]')
    group by instance_id, path, inner_path
),

items as (
    select
        instance_id,
        path,
        any_value(RelationshipType) filter (where inner_path = '') as RelationshipType,
        any_value(ValueType) filter (where inner_path = '') as ValueType,
        any_value(code) filter (where inner_path = 'ConceptNameCodeSequence[0]') as concept,
        any_value(value) filter (where inner_path = '') as value,
        list(code order by item) filter (where starts_with(inner_path, 'ConceptCodeSequence[')) as concept_codes,
        any_value(NumericValue) filter (where inner_path = 'MeasuredValueSequence[0]') as NumericValue,
        any_value(FloatingPointValue) filter (where inner_path = 'MeasuredValueSequence[0]') as FloatingPointValue,
        any_value(number_text) filter (where inner_path = 'MeasuredValueSequence[0]') as number_text,
        any_value(number_warning) filter (where inner_path = 'MeasuredValueSequence[0]') as number_warning,
        any_value(code) filter (
            where inner_path = 'MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]'
        ) as unit,
        any_value(code) filter (where inner_path = 'NumericValueQualifierCodeSequence[0]') as number_qualifier,
        list(reference order by item) filter (where reference is not null) as instance_references,
        any_value(target) filter (where inner_path = '') as target,
        any_value(GraphicType) filter (where inner_path = '') as GraphicType,
        any_value(GraphicData) filter (where inner_path = '') as GraphicData,
        any_value(TemplateIdentifier) filter (where inner_path = 'ContentTemplateSequence[0]') as TemplateIdentifier,
        any_value(MappingResource) filter (where inner_path = 'ContentTemplateSequence[0]') as MappingResource,
        [1] || list_transform(
            regexp_extract_all(path, '\[(\d+)\]', 1), lambda item: try_cast(item as bigint) + 1
        ) as position
    from parts
    group by instance_id, path
),

-- Only documents with an item by reference are looked through.
targets as (
    select
        instance_id,
        position
    from items
    where instance_id in (select referring.instance_id from items as referring where referring.target is not null)
)

select
    documents.instance_id,
    items.path,
    documents.series_key,
    documents.SOPInstanceUID,
    case
        when items.path = '' then null
        else regexp_replace(items.path, '\.?ContentSequence\[\d+\]$', '')
    end as parent_path,
    items.position,
    len(items.position) - 1 as depth,
    items.RelationshipType,
    items.ValueType,
    items.concept,
    coalesce(items.value, items.concept_codes[1].CodeMeaning, items.number_text) as value,
    items.concept_codes[1] as concept_code,
    items.concept_codes,
    items.NumericValue,
    items.FloatingPointValue,
    items.unit,
    items.number_qualifier,
    items.instance_references,
    items.target as ReferencedContentItemIdentifier,
    items.GraphicType,
    items.GraphicData,
    items.TemplateIdentifier,
    items.MappingResource,
    case
        when items.target is not null and items.position[1:len(items.target)] = items.target
            then 'it refers to an item that holds it: a loop'
        when items.target is not null and targets.position is null
            then 'it refers to an item that is not there'
        when items.target is null and items.ValueType is null then 'it has no value type'
        when items.ValueType = 'NUM' and items.NumericValue is null then coalesce(
            'its number cannot be read: ' || items.number_warning, 'it has no measured value'
        )
        -- Text of 16 characters holds at least eight digits.
        when abs(items.FloatingPointValue - items.NumericValue) > 1e-6 * abs(items.FloatingPointValue) + 1e-12
            then 'its Floating Point Value contradicts its Numeric Value'
    end as warning,
    unread.not_read
from documents
left join unread on documents.instance_id = unread.instance_id and unread.is_without_elements
left join items on documents.instance_id = items.instance_id
left join targets on items.instance_id = targets.instance_id and items.target = targets.position
where items.path is not null or unread.not_read is not null;
