-- One row per reference to an instance or series that the warehouse does not have.
--
-- Of `object_references`. An object of which no element was read has one row without a reference.
--
-- grain:   instance_id, purpose, purpose_code, referenced_instance_uid, referenced_series_uid
-- depends: object_references
-- column:  instance_id | BIGINT | key to `instances`: the referencing object
-- column:  purpose | VARCHAR | sequence that holds the reference; null if elements were not read
-- column:  purpose_code | VARCHAR | scheme and value of the purpose; null if none is stated
-- column:  referenced_instance_uid | VARCHAR | Referenced SOP Instance UID (0008,1155); null where a series is named
-- column:  referenced_series_uid | VARCHAR | its series, as stated by the reference; null if not stated
-- column:  series_key | VARCHAR | key to `series` of the referencing object
-- column:  Modality | VARCHAR | Modality (0008,0060) of the object that refers
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018) of the object that refers
-- column:  reference_count | BIGINT | how often the object references it for that purpose
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view dangling_references as
select
    instance_id,
    purpose,
    purpose_code,
    referenced_instance_uid,
    referenced_series_uid,
    series_key,
    Modality,
    SOPInstanceUID,
    reference_count,
    not_read
from object_references
where is_dangling or not_read is not null;
