"""How many requests a second are answered."""

from __future__ import annotations

from greenup_runtime.server.http import Refusal


class Rate:
    """A bucket of tokens: `rate_hz` of them a second, a second's worth at most; 0 is no limit."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._most = max(1.0, rate_hz)
        self._tokens = self._most
        self._since_s = 0.0

    def take(self, now_s: float) -> None:
        """Take a token. Raises Refusal 429, with when to come back, where there is none."""
        if not self._rate_hz:
            return
        self._tokens = min(self._most, self._tokens + (now_s - self._since_s) * self._rate_hz)
        self._since_s = now_s
        if self._tokens < 1.0:
            wait_s = max(1, round((1.0 - self._tokens) / self._rate_hz + 0.5))
            message = f"more than {self._rate_hz:g} requests a second; come back in {wait_s} s"
            raise Refusal(429, message, ((b"Retry-After", b"%d" % wait_s),))
        self._tokens -= 1.0
