"""Every inference that is served leaves a record with its energy, at a cost of a few microseconds."""

from greenup_runtime.recording.live import LiveRecorder, open_recorder

__all__ = ["LiveRecorder", "open_recorder"]
