"""Find the smallest form of a model that holds its accuracy budget and is proven to win on the device.

structures   smaller architectures, and which are worth training
stages       sketches, students and out-of-fold models as cached stages
folds        out-of-fold division
screen       time of untrained sketches, measured on the device: weights do not change it
judge        accuracy lost against the original, with its bound
search       the whole, within a number of minutes
"""

from __future__ import annotations

from greenup.tune.search import Settings, tune

__all__ = ["Settings", "tune"]
