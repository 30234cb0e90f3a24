"""Cohorts: named selections, their stored runs, and exports of the members."""
