-- Vectors of three, and the tolerances within which positions and directions count as equal.
--
-- `in_patient` turns a vector along row, column and slice into the patient. `in_image` turns one along
-- frequency, phase and slice gradients into the image, by plane and axis of phase encoding: signs are
-- those by which dcm2niix, which was validated with phantoms, turns GE's.
-- `cross_product` is at right angles to both vectors. `dot_product` is null where a part is;
-- list_dot_product would be an error then. Cosines of one series differ by rounding
-- only; positions are written with two decimals by many scanners. `rounding_mm` is by how much
-- one position may be off so, less where pixels are small; two may be off by twice that.
-- `gradient_direction` has length one. It is null for what is far from a unit vector, such as the zeros of
-- images without weighting; it has no minus before zero, which would compare as another direction.
--
-- example: select cross_product([1, 0, 0], [0, 1, 0]) as normal
create or replace macro cross_product(a, b) as [
    a[2] * b[3] - a[3] * b[2], a[3] * b[1] - a[1] * b[3], a[1] * b[2] - a[2] * b[1]
];
create or replace macro dot_product(a, b) as a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
create or replace macro largest_difference(a, b) as
    list_max(list_transform(list_zip(a, b), lambda pair: abs(pair[1] - pair[2])));
create or replace macro cosine_tolerance() as 1e-4;
create or replace macro spacing_tolerance() as 0.01;
create or replace macro position_tolerance_mm() as 0.01;
create or replace macro drift_tolerance_pixels() as 0.1;
create or replace macro rounding_mm(spacing) as
    least(position_tolerance_mm(), drift_tolerance_pixels() * list_min(spacing));
create or replace macro gradient_direction(vector) as if(
    coalesce(dot_product(vector, vector) between 0.25 and 2.25, false),
    list_transform(vector, lambda part: part / sqrt(dot_product(vector, vector)) + 0), null
);
create or replace macro in_patient(orientation, vector) as
    case when vector is not null and len(orientation) = 6 then list_transform(
        list_zip(
            orientation[1:3], orientation[4:6],
            cross_product(orientation[1:3], orientation[4:6])
        ),
        lambda axis: vector[1] * axis[1] + vector[2] * axis[2] + vector[3] * axis[3]
    ) end;
create or replace macro plane_of(normal) as case
    when abs(normal[3]) >= abs(normal[1]) and abs(normal[3]) >= abs(normal[2]) then 'axial'
    when abs(normal[1]) >= abs(normal[2]) then 'sagittal'
    when abs(normal[2]) > abs(normal[1]) then 'coronal'
end;
create or replace macro in_image(axes, orientation, phase) as
    -- DuckDB 2.0.0 takes parts of a parameter without a type for text.
    case concat_ws(
        ' ',
        plane_of(cross_product(
            cast(orientation[1:3] as double[]), cast(orientation[4:6] as double[])
        )),
        phase
    )
        when 'axial COL' then [-axes[1], -axes[2], axes[3]]
        when 'axial ROW' then [-axes[2], axes[1], axes[3]]
        when 'sagittal COL' then [axes[1], axes[2], -axes[3]]
        when 'sagittal ROW' then [axes[2], -axes[1], -axes[3]]
        when 'coronal COL' then [-axes[1], axes[2], axes[3]]
        when 'coronal ROW' then [axes[2], axes[1], axes[3]]
    end;
