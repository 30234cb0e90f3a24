"""Cohorts: who is selected, kept so that it can be asked again, and written out."""
