-- One row per condition of the rules that classify MR sequences.
--
-- Rules are those of `sql/rules/sequence_types.csv` and of users (`dicom-warehouse rules add FILE`);
-- the catalog sets the variable `sequence_rules` to both. A rule holds if all of its conditions do;
-- the first that holds, by `position`, gives the type.
--
-- grain:   rule, condition
-- column:  rule | VARCHAR | name of the rule
-- column:  condition | BIGINT | number of the condition in its rule, from 1
-- column:  position | BIGINT | order in which rules are tried, from 1
-- column:  rank | DOUBLE | number of the rule; among equal numbers rules of users come first
-- column:  sequence_type | VARCHAR | sequence type of a series that matches the rule
-- column:  confidence | VARCHAR | high, medium or low: how sure a type is for which the rule holds; see `sequence_types`
-- column:  rule_modality | VARCHAR | modality of the series it is tried for
-- column:  attribute | VARCHAR | keyword or tag, or a column of `sequence_facts`
-- column:  tag | VARCHAR | eight upper-case hex digits; null for a column of `sequence_facts`
-- column:  test | VARCHAR | is, has, has not, contains, contains not, word, word not, above or below
-- column:  alternatives | VARCHAR[][] | values of each alternative
-- column:  source | VARCHAR | source of the rule: user or package
create or replace view sequence_rules as
select
    stated.rule,
    stated.condition,
    stated."position",
    stated.rank,
    stated.sequence_type,
    stated.confidence,
    stated.rule_modality,
    stated.attribute,
    stated.tag,
    stated.test,
    stated.alternatives,
    stated.source
from (select unnest(stated_rules()) as stated);
