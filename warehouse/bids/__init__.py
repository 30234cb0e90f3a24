"""Export runs of cohorts as BIDS data sets."""
