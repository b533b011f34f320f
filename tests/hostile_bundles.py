"""Bundles and archives that mean harm, made from a good one: by name, what is pushed and how it is refused."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import small_bundle
from onnx import TensorProto, helper
from store_parts import Made, Parts

from greenup import bundle as packing
from greenup.signing import SigningKey
from greenup_runtime.bundle import sha256

Archive = Callable[[Parts], bytes]
HEX = "a" * 64


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive whose headers say what they are told to; sizes are set where they were not."""
    buffer = io.BytesIO()
    for info, data in members:
        info.size = info.size or len(data)
        buffer.write(info.tobuf(form))
        buffer.write(data + b"\0" * (-len(data) % tarfile.BLOCKSIZE))
    return buffer.getvalue() + b"\0" * 2 * tarfile.BLOCKSIZE


def heads(parts: Parts, manifest: bytes | None = None, signature: str | None = None) -> list[Any]:
    manifest = parts.new.bundle.manifest_bytes if manifest is None else manifest
    signature = parts.new.signature if signature is None else signature
    signed = [(member("manifest.json.sig"), signature.encode())] if signature else []
    return [*signed, (member("manifest.json"), manifest)]


def blobs(parts: Parts) -> list[Any]:
    bundle = parts.new.bundle
    names = bundle.blob_names()
    return [(member(f"blobs/sha256/{name}"), bundle.path(name).read_bytes()) for name in names]


def after_heads(*more: tuple[tarfile.TarInfo, bytes], form: int = tarfile.USTAR_FORMAT) -> Archive:
    """A good beginning, then members of which none may pass."""
    return lambda parts: tar(*heads(parts), *more, form=form)


def wrong_digest(parts: Parts) -> bytes:
    (info, data), *rest = blobs(parts)
    return tar(*heads(parts), (info, data[:-1] + bytes([data[-1] ^ 1])), *rest)


def good(parts: Parts) -> bytes:
    return tar(*heads(parts), *blobs(parts))


STRAY, DAMAGED = "which no bundle has there", "damaged|cut short"
ARCHIVES: dict[str, tuple[Archive, str]] = {
    "absolute-path": (after_heads((member("/etc/cron.d/evil"), b"x")), STRAY),
    "parent-path": (after_heads((member("../../evil"), b"x")), STRAY),
    "parent-inside-path": (after_heads((member(f"blobs/sha256/../../{HEX}"), b"x")), STRAY),
    "no-hex": (after_heads((member("blobs/sha256/" + "g" * 64), b"x")), STRAY),
    "control-characters": (after_heads((member("blobs/\x1b[31m\n"), b"x")), STRAY),
    "unnamed-blob": (after_heads((member(f"blobs/sha256/{HEX}"), b"x")), STRAY),
    "symlink": (after_heads((member(f"blobs/sha256/{HEX}", tarfile.SYMTYPE, linkname="/etc/shadow"), b"")), STRAY),
    "hard-link": (
        after_heads((member(f"blobs/sha256/{HEX}", tarfile.LNKTYPE, linkname="../device.json"), b"")),
        STRAY,
    ),
    "character-device": (after_heads((member("null", tarfile.CHRTYPE, devmajor=1, devminor=3), b"")), STRAY),
    "block-device": (after_heads((member("disk", tarfile.BLKTYPE, devmajor=8), b"")), STRAY),
    "fifo": (after_heads((member("fifo", tarfile.FIFOTYPE), b"")), STRAY),
    "folder": (after_heads((member("blobs", tarfile.DIRTYPE), b"")), STRAY),
    "sparse": (after_heads((member(f"blobs/sha256/{HEX}", tarfile.GNUTYPE_SPARSE), b"")), STRAY),
    "long-name": (after_heads((member("x" * 4000), b""), form=tarfile.GNU_FORMAT), STRAY),
    "extended-header": (after_heads((member("x" * 4000), b""), form=tarfile.PAX_FORMAT), STRAY),
    "huge-extended-header": (after_heads((member("pax", tarfile.XHDTYPE, size=7 << 30), b"")), STRAY),
    "huge-manifest": (lambda _: tar((member("manifest.json", size=5 << 30), b"{}")), "too large"),
    "huge-signature": (lambda _: tar((member("manifest.json.sig", size=1 << 20), b"")), "too large"),
    "huge-blob": (
        lambda parts: tar(*heads(parts), (member(blobs(parts)[0][0].name, size=2 << 30), b"")),
        "larger than any bundle",
    ),
    "blob-twice": (lambda parts: tar(*heads(parts), blobs(parts)[0], blobs(parts)[0]), "twice"),
    "manifest-twice": (lambda parts: tar(*heads(parts), heads(parts)[1], *blobs(parts)), "twice"),
    "manifest-late": (lambda parts: tar(*heads(parts), *blobs(parts), heads(parts)[1]), STRAY),
    "many-members": (
        lambda parts: tar(*heads(parts), *((member(f"blobs/sha256/{n:064x}"), b"") for n in range(999))),
        STRAY,
    ),
    "blob-before-manifest": (lambda parts: tar(*blobs(parts), *heads(parts)), STRAY),
    "no-manifest": (lambda parts: tar(heads(parts)[0]), "has no manifest.json"),
    "wrong-digest": (wrong_digest, "altered on the way"),
    "gzip": (lambda parts: gzip.compress(good(parts)), DAMAGED),
    "empty": (lambda _: b"", DAMAGED),
    "noise": (lambda _: bytes(range(256)) * 40, DAMAGED),
    "cut-header": (lambda parts: good(parts)[:700], DAMAGED),
    "stranger": (
        lambda parts: tar(
            *heads(parts, signature=parts.stranger.sign(parts.new.bundle.manifest_bytes)), *blobs(parts)
        ),
        "not among those this device trusts",
    ),
    "signature-of-another": (
        lambda parts: tar(*heads(parts, signature=parts.old.signature), *blobs(parts)),
        "altered after signing",
    ),
    "no-signature-at-all": (lambda parts: tar(*heads(parts, signature="trust me"), *blobs(parts)), "trusts"),
}


def edited(parts: Parts, *path: Any, value: Any) -> bytes:
    """The good manifest with one entry changed."""
    manifest = json.loads(parts.new.bundle.manifest_bytes)
    inside = manifest
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return json.dumps(manifest).encode()


def raw(parts: Parts, before: str, after: str) -> bytes:
    text = parts.new.bundle.manifest_bytes.decode()
    assert before in text
    return text.replace(before, after, 1).encode()


MANIFESTS: dict[str, Callable[[Parts], bytes]] = {
    "empty": lambda _: b"",
    "list": lambda _: b"[]",
    "number": lambda _: b"1e999",
    "not-utf-8": lambda _: b"\xff\xfe{}",
    "deep": lambda _: b"[" * 200_000 + b"]" * 200_000,
    "deep-object": lambda parts: edited(parts, "schema", value=1)[:-1] + b', "x": ' + b'{"a":' * 50_000,
    "huge-number": lambda parts: raw(parts, '"version": 1', '"version": ' + "9" * 10_000),
    "other-schema": lambda parts: edited(parts, "schema", value="evil"),
    "schema-object": lambda parts: edited(parts, "schema", value={"a": ["x" * 10_000]}),
    "newer": lambda parts: edited(parts, "version", value=99),
    "version-text": lambda parts: edited(parts, "version", value="1"),
    "no-variants": lambda parts: edited(parts, "variants", value=[]),
    "variants-object": lambda parts: edited(parts, "variants", value={"fp32": {}}),
    "thousand-variants": lambda parts: edited(
        parts, "variants", value=json.loads(parts.new.bundle.manifest_bytes)["variants"] * 500
    ),
    "same-name-twice": lambda parts: edited(parts, "variants", 1, "name", value="fp32"),
    "name-path": lambda parts: edited(parts, "variants", 0, "name", value="../../x"),
    "name-escape": lambda parts: edited(parts, "name", value="\x1b]0;owned\x07"),
    "name-surrogate": lambda parts: edited(parts, "name", value="\ud800"),
    "name-huge": lambda parts: edited(parts, "name", value="x" * 1_000_000),
    "class-number": lambda parts: edited(parts, "classes", value=[1, 2]),
    "class-newline": lambda parts: edited(parts, "classes", value=["a\nb", "c"]),
    "blob-path": lambda parts: edited(parts, "variants", 0, "blob", value="../../device.json"),
    "blob-upper-case": lambda parts: edited(parts, "golden", "blob", value="A" * 64),
    "blob-list": lambda parts: edited(parts, "golden", "blob", value=["a"] * 64),
    "size-infinite": lambda parts: raw(parts, '"size_bytes": ', '"size_bytes": Infinity, "was": '),
    "size-overflow": lambda parts: raw(parts, '"size_bytes": ', '"size_bytes": 1e999, "was": '),
    "size-negative": lambda parts: edited(parts, "variants", 0, "size_bytes", value=-1),
    "tolerance-nan": lambda parts: raw(parts, '"tolerance": 0.0001', '"tolerance": NaN'),
    "tolerance-large": lambda parts: edited(parts, "variants", 0, "tolerance", value=2.0),
    "tolerance-true": lambda parts: edited(parts, "variants", 0, "tolerance", value=True),
    "isa-text": lambda parts: edited(parts, "variants", 0, "isa", value="vnni"),
    "policy-list": lambda parts: edited(parts, "input", "policy", value=[]),
    "policy-unknown": lambda parts: edited(parts, "input", "policy", "evil", value=1),
    "policy-length": lambda parts: edited(parts, "input", "policy", "length", value=-5),
    "input-missing": lambda parts: raw(parts, '"input"', '"inputs"'),
    "batch-object": lambda parts: edited(parts, "input", "batch", value={}),
    "four-megabytes": lambda parts: edited(parts, "notes", value="x" * (4 << 20)),
}


def model(node: Any = None, *, tensor: TensorProto | None = None, **made: Any) -> bytes:
    """windows [n, 1, 32] → [n, 2]: the small model, or one that a node or a tensor of it spoils."""
    proto = onnx.load_from_string(small_bundle.model_bytes(1, 48))
    if node is not None:
        proto.graph.node.insert(0, node)
    if tensor is not None:
        proto.graph.initializer[0].CopyFrom(tensor)
    for field, value in made.items():
        setattr(proto, field, value)
    content: bytes = proto.SerializeToString()
    return content


def external(location: str) -> bytes:
    tensor = TensorProto(name="first", data_type=TensorProto.FLOAT, dims=[32, 48])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model(tensor=tensor)


def in_attribute() -> bytes:
    """External data that hides in the constant of a branch."""
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    out = [helper.make_tensor_value_info("o", TensorProto.FLOAT, [1])]
    branch = helper.make_graph([helper.make_node("Constant", [], ["o"], value=tensor)], "branch", [], out)
    return model(helper.make_node("If", ["condition"], ["unused"], then_branch=branch, else_branch=branch))


def opset_of_tomorrow() -> bytes:
    proto = onnx.load_from_string(small_bundle.model_bytes(1, 48))
    proto.opset_import[0].version = 99
    content: bytes = proto.SerializeToString()
    return content


def memory_bomb() -> bytes:
    """A small file that asks for 64 GB when it runs."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 17, 1 << 17])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Flatten", ["input"], ["flat"], axis=1),
        helper.make_node("Slice", ["flat", "zero", "two", "one"], ["cut"]),
        helper.make_node("Add", ["cut", "sum"], ["probabilities"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("zero", 0), ("two", 2), ("one", 1))
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 32])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])]
    graph = helper.make_graph(nodes, "bomb", inputs, outputs, constants)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    content: bytes = built.SerializeToString()
    return content


MODELS: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "external-parent": (lambda: external("../../device.json"), 4, "data outside its file"),
    "external-absolute": (lambda: external("/etc/hostname"), 4, "data outside its file"),
    "external-beside": (lambda: external("weights.bin"), 4, "data outside its file"),
    "external-in-a-branch": (in_attribute, 4, "data outside its file"),
    "custom-operator": (
        lambda: model(helper.make_node("Evil", ["input"], ["unused"], domain="com.evil")),
        4,
        "operators of 'com.evil'",
    ),
    "unknown-operator": (lambda: model(helper.make_node("Evil", ["input"], ["unused"])), 3, "cannot load"),
    "newer-ir": (lambda: model(ir_version=99), 3, "cannot load"),
    "newer-opset": (opset_of_tomorrow, 4, "opset 99"),
    "truncated": (lambda: small_bundle.model_bytes(1, 48)[:-100], 4, "no ONNX model"),
    "noise": (lambda: bytes(range(256)) * 8, 4, "no ONNX model"),
    "empty": (lambda: b"\n", 4, "no ONNX model"),
    "memory-bomb": (memory_bomb, 3, "cannot run|killed by signal"),
}


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def compressed_bomb() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, windows=np.zeros((4096, 1, 2048), np.float32))
    return buffer.getvalue()


def lying_header() -> bytes:
    """An array whose header says 4 TB."""
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("windows.npy", array.getvalue() + b"1234")
    return buffer.getvalue()


WINDOWS = np.zeros((2, 1, 32), np.float32)
OUTPUTS = {f"expected.{name}": np.full((2, 2), 0.5, np.float32) for name in ("fp32", "pruned")}
GOLDEN: dict[str, Callable[[], bytes]] = {
    "noise": lambda: b"PK\x03\x04" + bytes(range(200)),
    "empty": lambda: b"\n",
    "pickled": lambda: npz(windows=np.array([{"a": 1}], dtype=object), **OUTPUTS),
    "no-windows": lambda: npz(**OUTPUTS),
    "no-cases": lambda: npz(windows=WINDOWS[:0], **{name: rows[:0] for name, rows in OUTPUTS.items()}),
    "other-length": lambda: npz(windows=WINDOWS[:, :, :9], **OUTPUTS),
    "other-classes": lambda: npz(windows=WINDOWS, **{name: rows[:, :1] for name, rows in OUTPUTS.items()}),
    "other-type": lambda: npz(windows=WINDOWS.astype(np.float64), **OUTPUTS),
    "not-a-number": lambda: npz(windows=WINDOWS, **{name: rows * np.nan for name, rows in OUTPUTS.items()}),
    "compressed-bomb": compressed_bomb,
    "lying-header": lying_header,
}


def packed(parts: Parts, folder: Path, *, fp32: bytes | None = None, golden: bytes | None = None) -> Made:
    """A signed bundle whose fp32 variant or golden samples are others: its owner was fooled."""
    manifest = json.loads(parts.new.bundle.manifest_bytes)
    files = {name: parts.new.bundle.path(name).read_bytes() for name in parts.new.bundle.blob_names()}
    if fp32 is not None:
        manifest["variants"][0].update(blob=sha256(fp32), size_bytes=len(fp32))
        files[sha256(fp32)] = fp32
    if golden is not None:
        manifest["golden"]["blob"] = sha256(golden)
        files[sha256(golden)] = golden
    return signed(parts.key, folder, json.dumps(manifest).encode(), files)


def signed(key: SigningKey, folder: Path, manifest: bytes, files: dict[str, bytes]) -> Made:
    (folder / "blobs/sha256").mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    for name, data in files.items():
        (folder / "blobs/sha256" / name).write_bytes(data)
    packing.sign(folder, key)
    bundle = packing.runtime_bundle.open_folder(folder)
    return Made(bundle, (folder / "manifest.json.sig").read_text())
