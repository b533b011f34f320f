"""Prove a bundle on this device before it may serve: signature, bytes, memory, CPU features, golden samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from greenup_runtime import cpu, engine, memory, onnx_file, signing
from greenup_runtime.bundle import BASELINE, REBUILD, Bundle, Golden, Variant, check_blobs
from greenup_runtime.errors import DeviceFault, IntegrityFault, UsageFault
from greenup_runtime.proven import Proof, VariantProof

# A session needs its weights, a copy of them laid out for the kernels, and room for activations.
_MEMORY_FACTOR = 4
# ONNX's own operators, and those that onnxruntime brings along.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
_RUN_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    MemoryError,
    RuntimeError,
    ValueError,
)


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
    usable. Raises IntegrityFault for a wrong signature, altered bytes, a file that is not what the manifest says
    or a failed golden sample, DeviceFault where memory does not suffice or the model cannot be loaded.
    """
    check_blobs(bundle)
    signer = None
    if signature or not allow_unsigned:
        signer = signing.verify(bundle.manifest_bytes, signature, allowed_signers)
    for variant in bundle.variants:
        check_file(bundle, variant)
    _check_memory(bundle, root)
    golden = bundle.golden()
    features = cpu.isa_features(root)
    proofs = tuple(_prove_variant(bundle, variant, golden, features) for variant in bundle.variants)
    if not any(proof.name == BASELINE and proof.usable for proof in proofs):
        raise DeviceFault(f"the baseline {BASELINE} cannot run on this device", "build for this device's target")
    return Proof(bundle.digest, signer, proofs)


def check_file(bundle: Bundle, variant: Variant) -> None:
    """Raise IntegrityFault for a file that is not what the manifest says, or asks for anything outside itself."""
    content = bundle.path(variant.blob).read_bytes()
    try:
        facts = onnx_file.read(content)
    except ValueError as error:
        raise IntegrityFault(f"variant {variant.name} is no ONNX model: {error}", REBUILD) from error
    if facts.external:
        raise IntegrityFault(
            f"variant {variant.name} keeps data outside its file, which no bundle of greenup does", REBUILD
        )
    if strange := sorted({*facts.opsets, *facts.domains} - _DOMAINS):
        raise IntegrityFault(
            f"variant {variant.name} uses operators of {ascii(strange[0])[:60]}, which no runner has", REBUILD
        )
    if (facts.opsets.get(""), len(content)) != (variant.opset, variant.size_bytes):
        raise IntegrityFault(
            f"variant {variant.name} has opset {facts.opsets.get('')} and {len(content)} bytes, "
            f"the manifest says {variant.opset} and {variant.size_bytes}",
            REBUILD,
        )


def _prove_variant(bundle: Bundle, variant: Variant, golden: Golden, features: tuple[str, ...]) -> VariantProof:
    missing = [name for name in variant.isa if name not in features]
    if missing:
        return VariantProof(variant.name, False, None, f"this CPU lacks {', '.join(missing)}")
    before = memory.resident_bytes()
    try:
        error = check_golden(engine.load(bundle, variant.name), variant, golden)
    except _RUN_ERRORS as fault:
        raise DeviceFault(
            f"variant {variant.name} cannot run on this device: {str(fault)[:300]}",
            "free memory on the device, or build for its target",
        ) from fault
    return VariantProof(variant.name, True, error, memory_bytes=max(0, memory.resident_bytes() - before))


def check_golden(loaded: engine.Engine, variant: Variant, golden: Golden) -> float:
    """The largest error of a loaded variant on the golden samples. Raises IntegrityFault above its tolerance."""
    expected = golden.expected[variant.name]
    try:
        actual = loaded.infer(golden.windows)
    except UsageFault as fault:
        raise IntegrityFault(f"variant {variant.name}: {fault.message}", REBUILD) from fault
    fits = isinstance(actual, np.ndarray) and actual.dtype == np.float32 and actual.shape == expected.shape
    if not fits:
        wanted = list(expected.shape)
        raise IntegrityFault(
            f"golden samples: {variant.name} does not answer with probabilities of shape {wanted}", REBUILD
        )
    error = float(np.abs(actual - expected).max())
    if not np.isfinite(actual).all() or error > variant.tolerance:
        raise IntegrityFault(
            f"golden samples: {variant.name} differs by {error:.3g} from what the host computed, "
            f"tolerance {variant.tolerance:g}",
            "this device's kernels compute something else: build for its target, or leave the variant out",
        )
    return error


def _check_memory(bundle: Bundle, root: Path) -> None:
    needed = _MEMORY_FACTOR * max(variant.size_bytes for variant in bundle.variants)
    available = memory.available_bytes(root)
    if available is not None and needed > available:
        raise DeviceFault(
            f"the model needs about {needed / 1e6:.0f} MB of memory, {available / 1e6:.0f} MB are free",
            "free memory on the device, or prune more",
        )
