"""A bounded queue between reading and classifying: when full, the reader waits or the oldest goes, counted."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiting(Generic[T]):
    """First in, first out, at most `most` things; `drops` says what happens when it is full."""

    def __init__(self, most: int, *, drops: bool) -> None:
        self.dropped = 0
        self.deepest = 0
        self._most = most
        self._drops = drops
        self._things: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, thing: T) -> bool:
        """Add one; returns False where nobody takes any more."""
        with self._changed:
            while not self._closed and not self._drops and len(self._things) >= self._most:
                self._changed.wait()
            if self._closed:
                self.dropped += 1
                return False
            if len(self._things) >= self._most:
                self._things.popleft()
                self.dropped += 1
            self._things.append(thing)
            self.deepest = max(self.deepest, len(self._things))
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> T | None:
        """The oldest; None where none came in this time, or none will come."""
        with self._changed:
            if not self._things and not self._closed:
                self._changed.wait(timeout_s)
            if not self._things:
                return None
            thing = self._things.popleft()
            self._changed.notify_all()
            return thing

    def close(self) -> None:
        """Nothing more comes; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Nobody takes any more: what waits is dropped, counted."""
        with self._changed:
            self._closed = True
            self.dropped += len(self._things)
            self._things.clear()
            self._changed.notify_all()

    @property
    def over(self) -> bool:
        """Whether nothing waits and nothing will come."""
        with self._changed:
            return self._closed and not self._things

    def __len__(self) -> int:
        return len(self._things)
