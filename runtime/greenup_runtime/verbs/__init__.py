"""Verbs of `greenup-runner` by topic: each module's `add` sets up arguments, its functions do the work."""
