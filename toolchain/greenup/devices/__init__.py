"""Devices: how they are reached, which there are, and how a bundle gets there."""
