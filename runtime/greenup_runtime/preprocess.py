"""Lengths, gaps, resampling and segmentation: the one implementation, for training and for serving."""

from __future__ import annotations
