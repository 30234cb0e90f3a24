"""Files and rows of a warehouse without what identifies a person: PS3.15 Annex E."""
