-- Every vendor payload belongs to a stored instance and has values, and all values belong to a payload.
--
-- depends: instances, vendor_payloads, vendor_values
select
    vendor_payloads.instance_id,
    coalesce(vendor_payloads.payload, vendor_values.payload) as payload
from vendor_payloads
full join (select distinct payload from vendor_values) as vendor_values
    on vendor_payloads.payload = vendor_values.payload
left join instances on vendor_payloads.instance_id = instances.instance_id
where
    vendor_payloads.payload is null
    or vendor_values.payload is null
    or instances.instance_id is null
