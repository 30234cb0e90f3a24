-- The rules of sequence types from the variable `sequence_rules`, which the catalog sets to JSON.
--
-- Text, because every session of a program sets it. It is a constant before a query runs, so that
-- only the row groups of the tags that rules name are read. A condition of a rule is an element.
--
-- example: select unnest(stated_rules(), recursive := true) limit 5
create or replace macro stated_rules() as
    from_json(
        getvariable('sequence_rules'),
        '[{
            "rule": "VARCHAR", "condition": "BIGINT", "position": "BIGINT", "rank": "DOUBLE",
            "sequence_type": "VARCHAR", "confidence": "VARCHAR", "rule_modality": "VARCHAR", "attribute": "VARCHAR",
            "tag": "VARCHAR", "test": "VARCHAR", "alternatives": [["VARCHAR"]], "source": "VARCHAR"
        }]'
    );
