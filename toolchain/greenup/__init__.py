"""greenup: a time series data set in, the least energy-hungry classifier on your board out, with the proof."""

from __future__ import annotations

from greenup_runtime import __version__

__all__ = ["__version__"]
