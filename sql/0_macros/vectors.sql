-- Vectors of three, and the tolerances within which positions and directions count as equal.
--
-- `cross_product` is at right angles to both vectors. `dot_product` is null where a part is;
-- list_dot_product would be an error then. Cosines of one series differ by rounding
-- only; positions are written with two decimals by many scanners. `rounding_mm` is by how much
-- one position may be off so, less where pixels are small; two may be off by twice that.
-- `gradient_direction` is null for what is no unit vector, such as the zeros of images without
-- weighting; it has no minus before zero, which would compare as another direction.
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
    list_transform(vector, lambda cosine: cosine + 0), null
);
