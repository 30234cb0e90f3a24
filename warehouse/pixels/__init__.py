"""Pixels: series as lazy arrays, read from the offsets in the catalog when they are sliced.

In: a catalog and the UID of a series. Out: ``LazyVolume`` and ``Stack``. Source files are opened
read-only, and only those whose frames are wanted; one that changed since its ingest is refused.

Read in this order: ``image`` (what the catalog knows of an instance), ``lookup`` (a series → its
images), ``places`` (which bytes are a frame), ``source`` (bytes of a file), ``decode`` (bytes →
pixels), ``geometry`` (frames → grid), ``volumes`` (several frames at a position → volumes),
``layout`` (series → grid), ``read`` (many frames at once), ``volume`` and ``stack``, then what
the numbers are: ``facts`` (header → what it says of its values), ``mappings``, ``units``, ``lut``,
``voi``, ``values``; how diffusion is weighted: ``gradients``; and what people look at:
``pictures``, ``files``, ``gallery``.
"""
