"""Prove a bundle on this device before it may serve: signature, bytes, memory, CPU features, golden samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from greenup_runtime import cpu, engine, signing
from greenup_runtime.bundle import BASELINE, Bundle, Golden, Variant, check_blobs
from greenup_runtime.errors import DeviceFault, IntegrityFault

# A session needs its weights, a copy of them laid out for the kernels, and room for activations.
_MEMORY_FACTOR = 4


@dataclass(frozen=True)
class VariantProof:
    """How one variant did: usable, or the reason why not, and its largest error on the golden samples."""

    name: str
    usable: bool
    max_error: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Proof:
    """The outcome for a bundle; `signer` is None for an unsigned one that was allowed."""

    bundle: str
    signer: str | None
    variants: tuple[VariantProof, ...]

    def usable(self) -> tuple[str, ...]:
        """Names of the variants that this device may run."""
        return tuple(proof.name for proof in self.variants if proof.usable)


def prove(
    bundle: Bundle,
    signature: str | None,
    allowed_signers: Path,
    *,
    allow_unsigned: bool = False,
    root: Path = Path("/"),
) -> Proof:
    """Check everything that can be checked before a switch.

    A variant that needs a CPU feature this device lacks is left out with its reason; the baseline must be
    usable. Raises IntegrityFault for a wrong signature, altered bytes or a failed golden sample, DeviceFault
    where memory does not suffice or the model cannot be loaded.
    """
    check_blobs(bundle)
    signer = None
    if signature or not allow_unsigned:
        signer = signing.verify(bundle.manifest_bytes, signature, allowed_signers)
    _check_memory(bundle, root)
    golden = bundle.golden()
    features = cpu.isa_features(root)
    proofs = tuple(_prove_variant(bundle, variant, golden, features) for variant in bundle.variants)
    if not any(proof.name == BASELINE and proof.usable for proof in proofs):
        raise DeviceFault(f"the baseline {BASELINE} cannot run on this device", "build for this device's target")
    return Proof(bundle.digest, signer, proofs)


def _prove_variant(bundle: Bundle, variant: Variant, golden: Golden, features: tuple[str, ...]) -> VariantProof:
    missing = [name for name in variant.isa if name not in features]
    if missing:
        return VariantProof(variant.name, False, None, f"this CPU lacks {', '.join(missing)}")
    error = check_golden(engine.load(bundle, variant.name), variant, golden)
    return VariantProof(variant.name, True, error)


def check_golden(loaded: engine.Engine, variant: Variant, golden: Golden) -> float:
    """The largest error of a loaded variant on the golden samples. Raises IntegrityFault above its tolerance."""
    actual = loaded.infer(golden.windows)
    error = float(np.abs(actual - golden.expected[variant.name]).max())
    if not np.isfinite(actual).all() or error > variant.tolerance:
        raise IntegrityFault(
            f"golden samples: {variant.name} differs by {error:.3g} from what the host computed, "
            f"tolerance {variant.tolerance:g}",
            "this device's kernels compute something else: build for its target, or leave the variant out",
        )
    return error


def _check_memory(bundle: Bundle, root: Path) -> None:
    needed = _MEMORY_FACTOR * max(variant.size_bytes for variant in bundle.variants)
    available = cpu.available_bytes(root)
    if available is not None and needed > available:
        raise DeviceFault(
            f"the model needs about {needed / 1e6:.0f} MB of memory, {available / 1e6:.0f} MB are free",
            "free memory on the device, or prune more",
        )
