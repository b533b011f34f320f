"""What is deployed: a manifest, and the blobs that it names by their sha256.

    manifest.json        what the variants are; its own sha256 is the bundle's name
    manifest.json.sig    SSH signature of the manifest's bytes
    blobs/sha256/<hex>   one ONNX file per variant, and the golden samples

On the device several bundles share one blob folder, so what two bundles have in common is stored once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from greenup_runtime import golden_samples
from greenup_runtime import manifest as fields
from greenup_runtime.errors import IntegrityFault, UsageFault
from greenup_runtime.preprocess import InputPolicy

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.json.sig"
BLOBS = Path("blobs") / "sha256"
# The variant that every other one is compared with, and that serves before anything was measured.
BASELINE = "fp32"
REBUILD = "build the bundle again with `greenup build`"


@dataclass(frozen=True)
class Variant:
    """One ONNX file of a bundle. `isa` names CPU features without which its result is not trusted."""

    name: str
    blob: str
    size_bytes: int
    opset: int
    isa: tuple[str, ...]
    tolerance: float


@dataclass(frozen=True)
class Golden:
    """Input windows [cases, channels, length] and, per variant, the expected probabilities [cases, classes]."""

    windows: npt.NDArray[np.float32]
    expected: dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Bundle:
    """A manifest that was read and checked, and the folder where its blobs lie."""

    digest: str
    name: str
    classes: tuple[str, ...]
    policy: InputPolicy
    batch: str
    variants: tuple[Variant, ...]
    golden_blob: str
    manifest: dict[str, Any]
    manifest_bytes: bytes
    blobs: Path

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises UsageFault, listing those there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise UsageFault(f"bundle {self.digest[:12]} has no variant {name!r}", f"it has: {names}")

    def path(self, blob: str) -> Path:
        """Where a blob lies."""
        return self.blobs / blob

    def blob_names(self) -> tuple[str, ...]:
        """Every blob that the manifest names, each once."""
        return tuple(dict.fromkeys([*(variant.blob for variant in self.variants), self.golden_blob]))

    def golden(self) -> Golden:
        """The golden samples. Raises IntegrityFault where they cannot be read or do not fit the manifest."""
        try:
            names = tuple(variant.name for variant in self.variants)
            content = self.path(self.golden_blob).read_bytes()
            shape = (self.policy.channels, self.policy.length)
            return Golden(*golden_samples.read(content, names, shape, len(self.classes)))
        except (OSError, ValueError) as error:
            raise IntegrityFault(f"golden samples cannot be read: {error}", REBUILD) from error


def sha256(data: bytes) -> str:
    """Hex sha256 of bytes: the name of a blob or a bundle."""
    return hashlib.sha256(data).hexdigest()


def parse(manifest: bytes, blobs: Path) -> Bundle:
    """Read a manifest's bytes. Raises IntegrityFault for another schema, a newer version or a broken form."""
    try:
        raw = fields.read(manifest)
        return Bundle(
            digest=sha256(manifest),
            name=fields.name(raw["name"]),
            classes=_classes(raw["classes"]),
            policy=InputPolicy.from_json(raw["input"]["policy"]),
            batch=_batch(raw["input"]["batch"]),
            variants=_variants(raw["variants"]),
            golden_blob=fields.hex_digest(raw["golden"]["blob"]),
            manifest=raw,
            manifest_bytes=manifest,
            blobs=blobs,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityFault(f"manifest is damaged: {_reason(error)}", REBUILD) from error


def open_folder(folder: Path) -> Bundle:
    """Read a bundle's folder and check every blob against its name.

    Raises UsageFault where the folder is no bundle, IntegrityFault where a blob is missing or altered.
    """
    try:
        manifest = (folder / MANIFEST_NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageFault(
            f"{folder} is not a bundle: it has no {MANIFEST_NAME}", "`greenup build` makes one"
        ) from error
    bundle = parse(manifest, folder / BLOBS)
    check_blobs(bundle)
    return bundle


def check_blobs(bundle: Bundle) -> None:
    """Raise IntegrityFault for the first blob that is missing or whose bytes do not match its name."""
    for name in bundle.blob_names():
        try:
            actual = sha256(bundle.path(name).read_bytes())
        except FileNotFoundError as error:
            raise IntegrityFault(
                f"blob {name[:12]}… of bundle {bundle.digest[:12]} is missing", REBUILD
            ) from error
        if actual != name:
            raise IntegrityFault(
                f"blob {name[:12]}… of bundle {bundle.digest[:12]} was altered: its bytes hash to {actual[:12]}…",
                REBUILD,
            )


def _classes(names: Any) -> tuple[str, ...]:
    return fields.distinct(tuple(fields.text(name) for name in fields.listed(names, 1, fields.MAX_CLASSES)))


def _batch(value: Any) -> str:
    if value not in ("any", "1"):
        raise ValueError("batch is neither 'any' nor '1'")
    return str(value)


def _variants(entries: Any) -> tuple[Variant, ...]:
    variants = tuple(_variant(entry) for entry in fields.listed(entries, 1, fields.MAX_VARIANTS))
    fields.distinct(tuple(variant.name for variant in variants))
    return variants


def _variant(entry: dict[str, Any]) -> Variant:
    return Variant(
        name=fields.name(entry["name"]),
        blob=fields.hex_digest(entry["blob"]),
        size_bytes=fields.integer(entry["size_bytes"], 1, 1 << 40),
        opset=fields.integer(entry["opset"], 1, 1_000),
        isa=tuple(fields.name(feature) for feature in fields.listed(entry["isa"], 0, 32)),
        tolerance=fields.tolerance(entry["tolerance"]),
    )


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
