"""Pixels: series as lazy arrays, read from the offsets in the catalog when they are sliced.

In: a catalog and the UID of a series. Out: ``LazyVolume`` and ``Stack``. Source files are opened
read-only, and only if their frames are needed. A file that has changed since its ingest is an
error.

Read the modules in this order: ``image`` (an instance in the catalog), ``lookup`` (series →
images), ``places`` (byte ranges of frames), ``source`` (bytes of a file), ``decode`` (bytes →
pixels), ``geometry`` (frames → grid), ``volumes`` (several frames at a position → volumes),
``layout`` (series → grid), ``read`` (many frames at once), ``volume`` and ``stack``. Conversion of
values: ``facts`` (header → attributes of its values), ``mappings``, ``units``, ``lut``, ``voi``,
``values``. Diffusion weighting: ``gradients``. Display and export: ``pictures``, ``files``,
``gallery``.
"""
