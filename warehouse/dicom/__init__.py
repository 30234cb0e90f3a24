"""Station 1: a file becomes data elements."""
