"""Jetson rails as the service of jetson-stats shows them: once or twice a second, if the user installed it.

jetson-stats is AGPL-3.0: it is an extra, imported only here. Only `power`, the newest value, is used: its `avg` is
smeared exponentially in integers and is no mean. `tot` is the module's input where the board has one, and else
the sum of the rails: it is never added to them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from greenup_runtime.errors import MeterFault
from greenup_runtime.meters import extras, jetson_rails
from greenup_runtime.meters.base import MeterOptions, StaleReading
from greenup_runtime.meters.rails import RailsMeter, pick
from greenup_runtime.trial import MeterFacts

_INTERVAL_S = 0.5
_PATIENCE_S = 5.0
_HINT = "check `systemctl status jtop`, and join the group jtop"
TOTAL = "total"


class Service:
    """The newest rails of a running jtop client, in watts."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._new = threading.Event()
        client.attach(self._arrived)

    def wait(self) -> dict[str, float]:
        """The first rails. Raises MeterFault where the service shows none in time."""
        if not self._new.wait(_PATIENCE_S):
            raise MeterFault("the jtop service shows nothing", _HINT)
        return rails_of(self._client.power)

    def read(self, names: Iterable[str]) -> Mapping[str, float]:
        """The rails asked for. Raises StaleReading before the service's next turn."""
        if not self._new.is_set():
            raise StaleReading("jtop has no new value yet")
        self._new.clear()
        return pick(rails_of(self._client.power), names)

    def _arrived(self, _client: Any) -> None:
        self._new.set()


def open_meter(options: MeterOptions) -> RailsMeter:
    """Connect to the service. Raises MeterFault where the package or the service is missing."""
    module = extras.load("jtop", "jetson-stats", "jetson")
    try:
        client = module.jtop(interval=_INTERVAL_S)
        service = Service(client)
        client.start()
    except (module.JtopException, OSError) as error:
        why = " ".join(str(error).split())
        raise MeterFault(f"the jtop service does not answer: {why}", _HINT) from error
    try:
        rails = service.wait()
        summed, scope = _counted(rails, options)
    except MeterFault:
        client.close()
        raise
    facts = MeterFacts(
        name="jtop",
        kind="power",
        scope=scope,
        source=f"jetson-stats {getattr(module, '__version__', '')}, {' + '.join(summed)}",
        update_s=_INTERVAL_S,
        resolution=jetson_rails.resolution_w(options, len(summed)),
        rails=summed,
        lag_s=_INTERVAL_S,
    )
    return RailsMeter(
        facts, service.read, options.clock, shown=tuple(rails), has_ready_flag=True, close=client.close
    )


def rails_of(power: Any) -> dict[str, float]:
    """Watts by rail, and `total` where jtop states one. Raises MeterFault for what is no answer of jtop."""
    try:
        rails = {str(name): _watts(values["power"]) for name, values in power["rail"].items()}
        total = power.get("tot") or {}
        return {**rails, TOTAL: _watts(total["power"])} if "power" in total else rails
    except (KeyError, TypeError, AttributeError) as error:
        raise MeterFault(f"jtop shows no power: {error!r}", "update jetson-stats") from error


def _watts(milliwatts: Any) -> float:
    if isinstance(milliwatts, bool) or not isinstance(milliwatts, (int, float)):
        raise TypeError(f"power {milliwatts!r} is no number")
    return milliwatts / 1e3


def _counted(rails: dict[str, float], options: MeterOptions) -> tuple[tuple[str, ...], str]:
    asked = jetson_rails.asked_for(options)
    labels = [name for name in rails if name != TOTAL]
    module_input = any(name in labels for name in jetson_rails.TOTALS)
    # jtop may take the module's input out of its rails and show it as the total only.
    if TOTAL in rails and not module_input and (not asked or set(asked) & set(jetson_rails.TOTALS)):
        return (TOTAL,), "total as jtop states it"
    return jetson_rails.counted(labels, asked)
