-- The normal form of a text: without the spaces that PS3.5 6.2 calls insignificant.
--
-- Values are stored without padding, so that only spaces before them are left. These mean something
-- in ST, LT, UT and UC alone. Of a PN, written as JSON, spaces around each component go.
--
-- example: select normal_text('CS', ' CT') as modality
create or replace macro normal_text(vr, text) as
    case
        when vr = 'PN'
            then if(
                contains(text, '" ') or contains(text, ' "'),
                regexp_replace(regexp_replace(text, '":" +', '":"', 'g'), ' +("[,}])', '\1', 'g'),
                text
            )
        -- A space sorts before all that is printed: most texts cost one comparison.
        when text < '!' and vr not in ('ST', 'LT', 'UT', 'UC') then ltrim(text, ' ')
        else text
    end;
