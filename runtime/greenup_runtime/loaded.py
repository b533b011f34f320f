"""What serves: a verified bundle and one of its variants, loaded, checked against its golden samples and warm.

A bundle comes from a folder that the user named, or from what is committed in the store. Signatures, blobs and CPU
features are checked each time, so that nothing that was altered on the disk since the commit serves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from greenup_runtime import cpu, signing
from greenup_runtime.bundle import (
    BASELINE,
    MANIFEST_NAME,
    SIGNATURE_NAME,
    Bundle,
    Variant,
    check_blobs,
    open_folder,
)
from greenup_runtime.engine import Engine, Float32, load
from greenup_runtime.errors import DeviceFault, IntegrityFault, UsageFault
from greenup_runtime.proof import check_golden
from greenup_runtime.store import Store, selection_bytes

_WARM_RUNS = 3


@dataclass(frozen=True)
class Wanted:
    """What shall serve: a bundle's folder (None is what is committed), a variant other than the usual one."""

    folder: Path | None = None
    variant: str | None = None
    allow_unsigned: bool = False
    threads: int = 1
    root: Path = Path("/")


@dataclass(frozen=True)
class Source:
    """A bundle whose signature was checked. `signer` is None where it is unsigned and that was allowed."""

    bundle: Bundle
    variant: str
    signer: str | None


class Loaded:
    """One variant, ready to run; `typical_s` is its usual time for one window, in seconds.

    Raises DeviceFault where this CPU lacks a feature or onnxruntime cannot load the file, IntegrityFault where the
    golden samples come out wrong.
    """

    def __init__(self, bundle: Bundle, variant: Variant, threads: int = 1, root: Path = Path("/")) -> None:
        lacks = missing_features(variant, root)
        if lacks:
            raise DeviceFault(
                f"this CPU lacks {', '.join(lacks)}, which {variant.name} needs", "use another variant"
            )
        self.bundle = bundle
        self.variant = variant.name
        self.engine: Engine = load(bundle, variant.name, threads)
        golden = bundle.golden()
        check_golden(self.engine, variant, golden)
        self.typical_s = _typical_s(self.engine, golden.windows[:1])

    def run(self, windows: Float32) -> Float32:
        """Probabilities [cases, classes] of windows [cases, channels, length]."""
        return self.engine.infer(windows)


@dataclass
class Serving:
    """A bundle with the variant that answers by default, and the others once somebody asked for them."""

    source: Source
    default: Loaded
    wanted: Wanted
    others: dict[str, Loaded] = field(default_factory=dict)

    def loaded(self, variant: str) -> Loaded | None:
        """A variant that is in memory, or None."""
        return self.default if variant == self.default.variant else self.others.get(variant)

    def load(self, variant: str) -> Loaded:
        """A variant, loaded now if it is not yet; takes as long as that takes. Raises as `Loaded` does."""
        found = self.loaded(variant)
        if found is None:
            bundle = self.source.bundle
            found = Loaded(bundle, bundle.variant(variant), self.wanted.threads, self.wanted.root)
            self.others[variant] = found
        return found


def missing_features(variant: Variant, root: Path = Path("/")) -> list[str]:
    """CPU features that a variant needs and this machine lacks."""
    if not variant.isa:
        return []
    features = cpu.isa_features(root)
    return [name for name in variant.isa if name not in features]


def find(wanted: Wanted, store: Store) -> Source:
    """The bundle and the variant that shall serve, with signatures and blobs checked.

    Raises UsageFault for a folder that is no bundle or an unknown variant, DeviceFault where nothing is committed,
    IntegrityFault for what is unsigned or was altered.
    """
    source = _from_folder(wanted, store) if wanted.folder else _from_store(wanted, store)
    source.bundle.variant(source.variant)
    return source


def open_serving(wanted: Wanted, store: Store) -> Serving:
    """Find, check, load and warm what shall serve. Raises as `find` and `Loaded` do."""
    source = find(wanted, store)
    variant = source.bundle.variant(source.variant)
    return Serving(source, Loaded(source.bundle, variant, wanted.threads, wanted.root), wanted)


def _from_folder(wanted: Wanted, store: Store) -> Source:
    assert wanted.folder is not None
    bundle = open_folder(wanted.folder)
    try:
        signature = (wanted.folder / SIGNATURE_NAME).read_text()
    except FileNotFoundError:
        signature = ""
    signer = _signer(bundle.manifest_bytes, signature, wanted, store)
    names = [variant.name for variant in bundle.variants]
    usual = BASELINE if BASELINE in names else names[0] if names else ""
    if not usual:
        raise UsageFault(f"{wanted.folder / MANIFEST_NAME} names no variant", "build the bundle again")
    return Source(bundle, wanted.variant or usual, signer)


def _from_store(wanted: Wanted, store: Store) -> Source:
    current = committed(store)
    if current is None:
        raise DeviceFault("no bundle serves on this device yet", "push one with `greenup push`")
    selection, signature = current
    _signer(selection_bytes(selection), signature, wanted, store)
    bundle, signature = store.bundle(str(selection["bundle"]))
    signer = _signer(bundle.manifest_bytes, signature, wanted, store)
    check_blobs(bundle)
    return Source(bundle, wanted.variant or str(selection["variant"]), signer)


def committed(store: Store) -> tuple[dict[str, Any], str | None] | None:
    """The committed selection and its signature, None where there is none. Raises IntegrityFault if damaged."""
    try:
        current = store.state()["current"]
        if current is None:
            return None
        selection = current["selection"]
        _ = selection["bundle"], selection["variant"]
        return selection, current["signature"]
    except (ValueError, KeyError, TypeError) as error:
        hint = "`greenup-runner rollback`, or push again"
        raise IntegrityFault(f"the record of what serves is damaged: {error!r}", hint) from error


def _signer(payload: bytes, signature: str | None, wanted: Wanted, store: Store) -> str | None:
    """Who signed. Where none is needed, one that is there must still be right, if this device trusts anybody."""
    if wanted.allow_unsigned and not (signature and store.allowed_signers.exists()):
        return None
    return signing.verify(payload, signature, store.allowed_signers)


def _typical_s(engine: Engine, window: Float32) -> float:
    """Median seconds of one window; the runs also warm the session."""
    spans = []
    for _ in range(_WARM_RUNS):
        began_s = time.perf_counter()
        engine.infer(window)
        spans.append(time.perf_counter() - began_s)
    return float(np.median(spans))
