"""Runs of cohorts as BIDS data sets."""
