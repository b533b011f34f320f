"""Find the smallest form of a model that holds its accuracy budget and is proven to win on the device.

structures   smaller architectures, and which are worth training
cuts         shares of the original that may go
candidates   one thing that is tried, and how far it came
stages       sketches, students and out-of-fold models as cached stages
form_stages  forms and cuts as cached stages
folds        out-of-fold division
screen       time on the device, before anything is trained: weights do not change it
judge        accuracy lost against the original, with its bound
forms        other graphs and kinds of int8, each only where it may win
search       the whole, within a number of minutes
"""

from __future__ import annotations

from greenup.tune.search import Settings, tune

__all__ = ["Settings", "tune"]
