"""The variant that classifies a stream: what the store says serves, followed when another is committed."""

from __future__ import annotations

import time
from dataclasses import replace

from greenup_runtime import logs
from greenup_runtime.engine import Engine, load
from greenup_runtime.errors import GreenupError
from greenup_runtime.preprocess import InputPolicy
from greenup_runtime.settings import StreamSettings
from greenup_runtime.store import Store

_LOOK_EVERY_S = 10.0


class Model:
    """The serving variant, loaded. Raises DeviceFault where nothing serves yet."""

    def __init__(self, store: Store, settings: StreamSettings, variant: str | None) -> None:
        self._store = store
        self._settings = settings
        self._wanted = variant
        self._refused: tuple[str, str] | None = None
        self.bundle, serving = store.serving()
        self.variant = variant or serving
        self.policy = stream_policy(self.bundle.policy, settings)
        self.engine: Engine = load(self.bundle, self.variant, settings.threads)
        self._looked_s = time.monotonic()

    def follow(self, *, now: bool = False) -> None:
        """Take over what was committed meanwhile, seen within ten seconds, or now; else keep the old one."""
        if not now and time.monotonic() - self._looked_s < _LOOK_EVERY_S:
            return
        self._looked_s = time.monotonic()
        try:
            bundle, serving = self._store.serving()
            chosen = bundle.digest, self._wanted or serving
            if chosen in ((self.bundle.digest, self.variant), self._refused):
                return
            self._refused = chosen
            if stream_policy(bundle.policy, self._settings) != self.policy:
                cause = "it cuts other windows"
                logs.event("error", "stream.restart_needed", bundle=bundle.digest[:12], cause=cause)
                return
            self.engine = load(bundle, chosen[1], self._settings.threads)
        except GreenupError as fault:
            logs.event("error", "stream.model_kept", variant=self.variant, cause=fault.message)
            return
        self.bundle, self.variant = bundle, chosen[1]
        logs.event("info", "stream.model", bundle=bundle.digest[:12], variant=self.variant)


def stream_policy(policy: InputPolicy, settings: StreamSettings) -> InputPolicy:
    """The manifest's policy with a window: its own, the one that was asked for, else the model's length."""
    window = settings.window or policy.window or policy.length
    return replace(policy, window=window, stride=settings.stride or policy.stride)
