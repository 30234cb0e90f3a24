"""Parse files into data elements."""
