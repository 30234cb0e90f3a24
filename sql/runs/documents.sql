-- Encapsulated documents of the members, in the order of their keys, and members that should have one and do not.
--
-- Only that of the object itself: what lies inside of sequences is not looked into.
with said as (
    select
        instance_id,
        any_value(sha256) filter (where tag = '00420011' and length > 0) as sha256,
        any_value(length) filter (where tag = '00420011' and length > 0) as length,
        any_value(text) filter (where tag = '00420012' and "index" = 0) as mime_type,
        any_value("integer") filter (where tag = '00420015' and "index" = 0) as stated_length
    from elements
    where tag in ('00420011', '00420012', '00420015') and path = ''
    group by instance_id
)

select
    instances.instance_key,
    instances.SOPClassUID,
    said.sha256,
    said.length,
    said.mime_type,
    said.stated_length,
    case
        when said.sha256 is not null then null
        when unread.is_without_elements then unread.not_read
        else 'it has no Encapsulated Document'
    end as why_not
from instances
semi join members on instances.instance_key = members.instance_key
left join said on instances.instance_id = said.instance_id
left join unread on instances.instance_id = unread.instance_id
where said.sha256 is not null or starts_with(instances.SOPClassUID, '1.2.840.10008.5.1.4.1.1.104.')
order by instances.instance_key
