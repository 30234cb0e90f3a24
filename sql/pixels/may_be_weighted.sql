-- Whether anything in the series $1 may say how its images are weighted: to plan `diffusion` takes
-- a quarter of a second, which most series would spend on an answer without rows.
select
    exists(
        from elements
        where
            instance_id in (select instance_id from instances where series_key = $1)
            and (
                tag in ('00189087', '00189089', '00204000')
                or tag between '00189602' and '00189607'
                or tag[4] in ('1', '3', '5', '7', '9', 'B', 'D', 'F')  -- private
            )
    )
    or exists(
        from vendor_elements
        where instance_id in (select instance_id from instances where series_key = $1)
    ) as may_be_weighted
