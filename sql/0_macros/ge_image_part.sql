-- Which part of a complex image GE's (0043,xx2F) states; null for a number that means none.
--
-- 0 magnitude, 1 phase, 2 real, 3 imaginary, as dcm2niix reads it (`kRealImaginaryMagPhaseGE`).
--
-- example: select ge_image_part(1) as image_part
create or replace macro ge_image_part(number) as
    case number when 0 then 'MAGNITUDE' when 1 then 'PHASE' when 2 then 'REAL' when 3 then 'IMAGINARY' end;
