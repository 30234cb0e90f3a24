"""Run existing algorithms over a cohort: artifacts, jobs as events, runners, outputs as rows."""
