-- A private tag with xx in place of its block: 0019119C is 0019xx9C.
--
-- example: select block_free_tag('0019109C') as tag
create or replace macro block_free_tag(tag) as tag[:4] || 'xx' || tag[7:8];
