-- Normalized names of manufacturers, and field strength in one unit.
--
-- `manufacturer_name` knows makers by what their names contain, so that SIEMENS, Siemens Healthineers
-- and SIEMENS NM are Siemens; Toshiba's are Canon's; others stay as stated.
-- `field_strength_tesla` takes more than 20 for gauss, which some scanners write: no magnet for
-- people has 20 T. What is then still none is null.
--
-- example: select manufacturer_name('SIEMENS NM') as maker, field_strength_tesla(15000) as tesla
create or replace macro manufacturer_name(stated) as
    case
        when regexp_matches(stated, 'siemens', 'i') then 'Siemens'
        when regexp_matches(stated, '^ge\b|^gems|\bge (medical|healthcare)|general electric', 'i')
            then 'GE'
        when regexp_matches(stated, 'philips|picker|marconi', 'i') then 'Philips'
        when regexp_matches(stated, 'toshiba|canon', 'i') then 'Canon'
        when regexp_matches(stated, '\buih\b|united imaging', 'i') then 'UIH'
        when regexp_matches(stated, 'hitachi', 'i') then 'Hitachi'
        when regexp_matches(stated, 'fuji', 'i') then 'Fujifilm'
        when regexp_matches(stated, 'carestream|kodak', 'i') then 'Carestream'
        when regexp_matches(stated, 'agfa', 'i') then 'Agfa'
        when regexp_matches(stated, 'hologic|lorad', 'i') then 'Hologic'
        when regexp_matches(stated, 'bruker', 'i') then 'Bruker'
        else nullif(stated, '')
    end;
create or replace macro field_strength_tesla(stated) as
    case
        when stated > 0 and stated <= 20 then stated
        when stated > 20 and stated / 10000 <= 20 then stated / 10000
    end;
