"""Typed sockets, validated values and annotations of people and algorithms."""
