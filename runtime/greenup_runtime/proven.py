"""What a proof found, kept beside its bundle: a bundle may serve only where it was proven.

A proof holds for the device, the runtime, the version of onnxruntime and the CPU features it was made with; with
another of these it says so, and a new proof is asked for.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenup_runtime import __version__, cpu
from greenup_runtime.errors import DeviceFault, IntegrityFault

PROOF_NAME = "proof.json"
PROOF_SCHEMA = "greenup.proof/1"
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")


@dataclass(frozen=True)
class VariantProof:
    """How one variant did: usable, or the reason why not; its largest error on the golden samples; its memory."""

    name: str
    usable: bool
    max_error: float | None
    reason: str | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Proof:
    """The outcome for a bundle; `signer` is None for an unsigned one that was allowed."""

    bundle: str
    signer: str | None
    variants: tuple[VariantProof, ...]

    def usable(self) -> tuple[str, ...]:
        """Names of the variants that this device may run."""
        return tuple(proof.name for proof in self.variants if proof.usable)

    def to_json(self) -> dict[str, Any]:
        """The proof as a verb answers it."""
        return {"bundle": self.bundle, "signer": self.signer, "variants": [asdict(row) for row in self.variants]}

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Proof:
        """A proof out of `to_json`, or out of its kept form."""
        rows = tuple(VariantProof(**row) for row in raw["variants"])
        return Proof(str(raw["bundle"]), raw["signer"], rows)


def onnxruntime_version() -> str | None:
    """The version of the installed onnxruntime, without importing it; None where there is none."""
    if loaded := sys.modules.get("onnxruntime"):
        return str(loaded.__version__)
    # It brings the whole of `email`: time and memory that a server, which has loaded onnxruntime, can do without.
    from importlib import metadata

    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def kept_form(proof: Proof, device: str, root: Path) -> dict[str, Any]:
    """What is written beside a bundle: the proof, and with what it was made."""
    return {"schema": PROOF_SCHEMA, **_made_with(device, root), **proof.to_json()}


def outdated(kept: dict[str, Any], device: str, root: Path) -> str | None:
    """Why a kept proof does not hold here and now; None where it does."""
    if kept.get("schema") != PROOF_SCHEMA:
        return "it was proven by another version of this runner"
    for what, now in _made_with(device, root).items():
        if kept.get(what) != now:
            return f"it was proven with another {what}: {_shown(kept.get(what))}, this is {_shown(now)}"
    return None


def check(kept: dict[str, Any] | None, bundle: str, variant: str, *, allow_unsigned: bool) -> None:
    """Raise IntegrityFault where no proof or an unsigned bundle's is kept, DeviceFault for an unusable variant."""
    if kept is None:
        raise IntegrityFault(
            f"bundle {bundle[:12]} was not proven on this device", f"run `greenup-runner prove {bundle}`"
        )
    if kept["signer"] is None and not allow_unsigned:
        raise IntegrityFault(
            f"bundle {bundle[:12]} is not signed", "sign it on the host, or allow it with --allow-unsigned"
        )
    for row in kept["variants"]:
        if row["name"] == variant and not row["usable"]:
            raise DeviceFault(f"variant {variant} cannot run on this device: {row['reason']}", "choose another")


def _made_with(device: str, root: Path) -> dict[str, Any]:
    return {
        "device": device,
        "runtime": __version__,
        "onnxruntime": onnxruntime_version(),
        "architecture": platform.machine(),
        "isa": list(cpu.isa_features(root)),
    }


def _shown(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
