"""Describe a bundle or an ONNX file: what `greenup inspect` prints."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from greenup import bundle as packing
from greenup_runtime.bundle import Bundle, open_folder
from greenup_runtime.errors import UsageFault

SCHEMA = "greenup.inspect/1"


def describe(path: Path) -> dict[str, Any]:
    """Facts of a bundle's folder (or a results folder that holds one) or of an ONNX file.

    Raises UsageFault for anything else, IntegrityFault for altered bytes.
    """
    if path.is_dir():
        folder = path / "bundle" if (path / "bundle").is_dir() else path
        return _bundle(open_folder(folder), packing.signature_of(folder) is not None)
    if not path.is_file():
        raise UsageFault(f"{path} does not exist", "name a bundle's folder or an .onnx file")
    from greenup.onnx_facts import facts

    return {"schema": SCHEMA, "kind": "onnx", "path": str(path), **asdict(facts(path))}


def lines(described: dict[str, Any]) -> list[str]:
    """The same facts for eyes."""
    if described["kind"] == "onnx":
        return [_row(Path(described["path"]).name, described), *_shape_lines(described["shapes"], {})]
    signed = "signed" if described["signed"] else "not signed"
    head = f"bundle {described['bundle'][:12]}, {described['name']}, {signed}"
    rows = [_row(entry["name"], entry) for entry in described["variants"]]
    by_name = {entry["name"]: entry for entry in described["variants"]}
    if "pruned" not in by_name:
        return [head, *rows]
    shapes = _shape_lines(by_name["pruned"]["shapes"], by_name["fp32"]["shapes"])
    return [head, *rows, "shapes of weights, fp32 → pruned:", *shapes]


def _bundle(bundle: Bundle, signed: bool) -> dict[str, Any]:
    manifest = bundle.manifest
    kept = {key: manifest[key] for key in ("name", "recipe", "classes", "dataset", "input", "variants")}
    return {"schema": SCHEMA, "kind": "bundle", "bundle": bundle.digest, "signed": signed, **kept}


def _row(name: str, facts: dict[str, Any]) -> str:
    return (
        f"{name:<12} {facts['size_bytes'] / 1e6:6.2f} MB  {facts['parameters']:>10,} parameters  "
        f"{facts['macs'] / 1e6:8.2f} M MACs  int8 {facts['int8_share']:4.0%}"
    )


def _shape_lines(shapes: dict[str, Any], before: dict[str, Any]) -> list[str]:
    result = []
    for name, shape in shapes.items():
        old = before.get(name)
        changed = f"{_times(old)} → " if old and list(old) != list(shape) else ""
        result.append(f"  {name}: {changed}{_times(shape)}")
    return result


def _times(shape: Any) -> str:
    return " × ".join(str(size) for size in shape)
