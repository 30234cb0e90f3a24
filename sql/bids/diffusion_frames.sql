-- How the frames of all series are weighted of which a run has members: asked once of the view, which
-- takes as long for one series as for all.
select *
from diffusion_frames
where series_key in (
    select instances.series_key
    from instances
    semi join members on instances.instance_key = members.instance_key
    where instances.Modality = 'MR'
)
