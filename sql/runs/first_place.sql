-- The first path at which the element $1 occurs: empty for the top level, which comes first; null for none.
select min(path) from elements where tag = $1
