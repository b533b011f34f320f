"""What `greenup-runner status` says of the store: what serves, what else is there, what room it takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from greenup_runtime import installing, signers
from greenup_runtime.errors import GreenupError
from greenup_runtime.store import Store


def overview(store: Store, root: Path = Path("/")) -> dict[str, Any]:
    """The state, and beside it whether what serves is unsigned or needs a new proof, bundles, signers, disk."""
    state = store.state()
    current = state["current"]
    serving = current["selection"]["bundle"] if current else None
    return {
        **state,
        "device": store.device_id,
        "unsigned": _unsigned(current) if current else None,
        "proof_lacks": store.proof_lacks(serving, root) if serving else None,
        "bundles": [_bundle(store, digest, state, root) for digest in store.installed()],
        "incoming": [_incoming(store, bundle.digest) for bundle in installing.incoming(store)],
        "signers": signers.listed(store.allowed_signers),
        "disk": _disk(store),
    }


def _unsigned(entry: dict[str, Any]) -> bool:
    return bool(entry.get("unsigned", not entry["signature"]))


def _bundle(store: Store, digest: str, state: dict[str, Any], root: Path) -> dict[str, Any]:
    try:
        bundle, signature = store.bundle(digest)
    except GreenupError as fault:
        return {"bundle": digest, "is": "damaged", "reason": fault.message}
    former = [entry["selection"]["bundle"] for entry in state["history"]]
    serves = state["current"] is not None and state["current"]["selection"]["bundle"] == digest
    return {
        "bundle": digest,
        "name": bundle.name,
        "is": "serving" if serves else "former" if digest in former else "waiting",
        "variants": [variant.name for variant in bundle.variants],
        "unsigned": not signature,
        "proof_lacks": store.proof_lacks(digest, root),
    }


def _incoming(store: Store, digest: str) -> dict[str, Any]:
    names = list(installing.names_of(store, "incoming", digest))
    return {"bundle": digest, "blobs": len(names), "missing": len(store.missing(names))}


def _disk(store: Store) -> dict[str, int]:
    blobs = [path.stat().st_size for path in store.blobs.iterdir()]
    return {"blobs": len(blobs), "blobs_bytes": sum(blobs), "free_bytes": shutil.disk_usage(store.home).free}
