-- Members of one part of a split by patient.
--
-- A patient falls where the first 52 bits of sha256('SEED:PATIENT_KEY') fall between `lowest` and
-- `highest`: whoever else is a member, and in which order, does not matter.
select *
from members
where
    cast('0x' || sha256(getvariable('seed') || ':' || patient_key)[:13] as ubigint) / 4503599627370496.0
    >= getvariable('lowest')
    and cast('0x' || sha256(getvariable('seed') || ':' || patient_key)[:13] as ubigint) / 4503599627370496.0
    < getvariable('highest')
order by instance_key
