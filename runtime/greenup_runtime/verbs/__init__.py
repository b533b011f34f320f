"""Verbs of `greenup-runner` that need more than a few lines, one file per topic."""
