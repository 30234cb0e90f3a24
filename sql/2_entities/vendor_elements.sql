-- One row per value of a vendor payload of an instance: Siemens CSA headers and protocols, GE protocols.
--
-- CSA headers have names such as B_value; protocols have paths such as sSliceArray.lSize or
-- sSliceArray.asSlice[0].dThickness, as the vendor writes them. An element without values has one
-- row without text. A payload that cannot be read has a row with the name '' and a warning.
-- Ask for a name: only its rows are read.
--
-- grain:   instance_id, source_tag, source_path, payload, name, index
-- example: select name, text from vendor_elements where name = 'B_value' limit 5
-- depends: vendor_payloads, vendor_values
-- column:  batch | VARCHAR | ingest batch
-- column:  instance_id | BIGINT | key to `instances`
-- column:  source_tag | VARCHAR | element that carries the payload: group and element, eight upper-case hex digits
-- column:  source_path | VARCHAR | '' at top level; in a sequence its path
-- column:  creator | VARCHAR | private creator of that element; empty where none reserved (0029,1010) or (0029,1020), and their bytes begin as a CSA header
-- column:  payload | BIGINT | number of the payload; the protocol in a CSA series header has its own
-- column:  name | VARCHAR | CSA element, path in the protocol or name of a setting, as written; '' on a row that describes damage
-- column:  index | INTEGER | position of this value in its element, from 0
-- column:  vr | VARCHAR | Value Representation that a CSA header states; null in protocols
-- column:  text | VARCHAR | the value as written, padding and quotes removed; null if there is none
-- column:  integer | BIGINT | a value written as a whole number, decimal or hexadecimal
-- column:  real | DOUBLE | any number
-- column:  warning | VARCHAR | what is damaged or left out
create or replace view vendor_elements as
select
    vendor_payloads.batch,
    vendor_payloads.instance_id,
    vendor_payloads.source_tag,
    vendor_payloads.source_path,
    vendor_payloads.creator,
    vendor_payloads.payload,
    vendor_values.name,
    vendor_values."index",
    vendor_values.vr,
    vendor_values.text,
    vendor_values."integer",
    vendor_values."real",
    vendor_values.warning
from vendor_payloads
join vendor_values on vendor_payloads.payload = vendor_values.payload;
