"""Decode data elements into rows of the long table."""
