"""The body of an `infer` request into windows, and probabilities into the body of its answer.

Open Inference Protocol v2 (REST) with the binary tensor extension: the JSON comes first, its length is in the
header `Inference-Header-Content-Length`, then the tensors' bytes. One input, raw windows FP32
[cases, channels, samples]; two outputs, `probabilities` [cases, classes] FP32 and `label` [cases] BYTES.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from greenup_runtime.bundle import Bundle
from greenup_runtime.preprocess import Float32, InputPolicy, resampled_length, to_windows
from greenup_runtime.server.http import JSON, Answer, Refusal
from greenup_runtime.server.tensors import LITTLE, bytes_elements, checked_shape, from_binary, from_json

LABEL = "label"
LENGTH_HEADER = b"inference-header-content-length"
_SENT_LENGTH_HEADER = b"Inference-Header-Content-Length"
_BINARY = b"application/octet-stream"
_MAX_DIGITS = 10
# Heads of requests that a model's form remembers: so many, so long.
_KEPT_HEADS, _KEPT_BYTES = 16, 1024


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; a missing value is null")


# Made once: json.loads and json.dumps would make them anew for each request.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True)
class Form:
    """What a model takes and gives; `max_values` bounds the numbers of a request, also after resampling."""

    model: str
    input: str
    output: str
    classes: tuple[str, ...]
    policy: InputPolicy
    max_values: int

    @staticmethod
    def of(bundle: Bundle, names: tuple[str, str], max_values: int) -> Form:
        """The form of a bundle whose graphs use these names."""
        return Form(bundle.name, *names, bundle.classes, bundle.policy, max_values)

    def metadata(self, versions: list[str]) -> dict[str, Any]:
        """The model's metadata as the protocol wants it; the batch is always -1."""
        policy = self.policy
        return {
            "name": self.model,
            "versions": versions,
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": self.input, "datatype": "FP32", "shape": [-1, policy.channels, policy.length]}],
            "outputs": [
                {"name": self.output, "datatype": "FP32", "shape": [-1, len(self.classes)]},
                {"name": LABEL, "datatype": "BYTES", "shape": [-1]},
            ],
        }

    @cached_property
    def encoded_classes(self) -> list[bytes]:
        """The classes' names as bytes."""
        return [name.encode() for name in self.classes]

    @cached_property
    def heads(self) -> dict[bytes, Head]:
        """What JSON before binary tensors said, by its bytes: clients send the same again and again."""
        return {}


class Head(NamedTuple):
    """What the JSON of a request says beside the values; `binary_bytes` None means that these are in it too."""

    id: str | None
    shape: tuple[int, int, int]
    series: bool
    outputs: list[tuple[str, bool]]
    binary_bytes: int | None


class Call(NamedTuple):
    """One request for inference: windows [cases, channels, length], and which outputs are wanted in which form."""

    id: str | None
    windows: Float32
    outputs: list[tuple[str, bool]]
    """Name, and whether it is wanted as binary data."""


def decode(body: bytes, header: bytes | None, form: Form) -> Call:
    """Read a request's body; `header` is the value of `Inference-Header-Content-Length`, if it was sent.

    Raises Refusal for every fault of the client's, DataFault where a series cannot be prepared.
    """
    length = _header_length(header, len(body))
    if length == 0:
        return Call(None, _raw_windows(body, form), _outputs({}, form, binary=True))
    text, tail = body[:length], memoryview(body)[length:]
    head, data = form.heads.get(text), None
    if head is None or head.binary_bytes != len(tail):
        head, data = _head(_json(text), len(tail), form)
        _keep(form.heads, text, head)
    values = from_json(data, head.shape) if head.binary_bytes is None else from_binary(tail, head.shape)
    return Call(head.id, prepare(values, form, series=head.series), head.outputs)


def _keep(heads: dict[bytes, Head], text: bytes, head: Head) -> None:
    """Remember a head that may come again; one with an id hardly will."""
    if head.binary_bytes is None or head.id or len(text) > _KEPT_BYTES:
        return
    if len(heads) >= _KEPT_HEADS:
        heads.clear()
    heads[text] = head


def encode(
    call: Call, form: Form, version: str, probabilities: Float32, identity: str, parameters: dict[str, Any]
) -> Answer:
    """The answer to a call, with binary tensors after the JSON where they are wanted."""
    outputs, tails = [], []
    for name, binary in call.outputs:
        label = name == LABEL
        best: list[int] = np.argmax(probabilities, axis=1).tolist() if label else []
        output: dict[str, Any] = {
            "name": name,
            "datatype": "BYTES" if label else "FP32",
            "shape": [len(best)] if label else list(probabilities.shape),
        }
        if binary:
            tail = _label_bytes(best, form) if label else probabilities.astype(LITTLE, copy=False).tobytes()
            output["parameters"] = {"binary_data_size": len(tail)}
            tails.append(tail)
        else:
            output["data"] = [form.classes[i] for i in best] if label else probabilities.ravel().tolist()
        outputs.append(output)
    answer = {
        "model_name": form.model,
        "model_version": version,
        "id": identity,
        "parameters": parameters,
        "outputs": outputs,
    }
    head = _ENCODER.encode(answer).encode()
    if not tails:
        return Answer(200, head, JSON)
    return Answer(200, b"".join([head, *tails]), _BINARY, ((_SENT_LENGTH_HEADER, b"%d" % len(head)),))


def _label_bytes(best: list[int], form: Form) -> bytes:
    return bytes_elements([form.encoded_classes[index] for index in best])


def _header_length(header: bytes | None, size: int) -> int:
    if header is None:
        return size
    if not header.isdigit() or len(header) > _MAX_DIGITS or int(header) > size:
        raise Refusal(400, "Inference-Header-Content-Length is no length within the body")
    return int(header)


def _json(text: bytes) -> dict[str, Any]:
    try:
        value = _DECODER.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}"[:200]) from error
    return _object(value, "the body")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(400, f"{what} is no JSON object")
    return value


def _only_input(inputs: Any, form: Form) -> dict[str, Any]:
    if not isinstance(inputs, list) or len(inputs) != 1:
        raise Refusal(400, f"inputs holds one tensor, {form.input!r}")
    tensor = _object(inputs[0], "the input")
    if tensor.get("name") != form.input:
        raise Refusal(400, f"the input's name is {form.input!r}, not {str(tensor.get('name'))[:60]!r}")
    if tensor.get("datatype") != "FP32":
        raise Refusal(400, f"the input's datatype is FP32, not {str(tensor.get('datatype'))[:60]!r}")
    return tensor


def _head(request: dict[str, Any], tail_bytes: int, form: Form) -> tuple[Head, Any]:
    """The head, and the values where they are in JSON; so many bytes came after it."""
    parameters = _object(request.get("parameters", {}), "parameters")
    tensor = _only_input(request.get("inputs"), form)
    about = _object(tensor.get("parameters", {}), "the input's parameters")
    if "shared_memory_region" in about:
        raise Refusal(400, "shared memory is not offered; send the tensor in the body")
    shape = checked_shape(tensor.get("shape"), form.max_values)
    size = about.get("binary_data_size")
    if size is None:
        if tail_bytes:
            raise Refusal(400, "there are bytes after the JSON that no binary_data_size speaks of")
    elif "data" in tensor or type(size) is not int or size != tail_bytes:
        raise Refusal(400, f"binary_data_size is {str(size)[:40]}, {tail_bytes} bytes came after the JSON")
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Refusal(400, "id is no string")
    outputs = _outputs(request, form, binary=parameters.get("binary_data_output") is True)
    return Head(identity, shape, about.get("series") is True, outputs, size), tensor.get("data")


def _raw_windows(body: bytes, form: Form) -> Float32:
    """Triton's raw binary request: nothing but whole windows."""
    window = 4 * form.policy.channels * form.policy.length
    if not body or len(body) % window:
        raise Refusal(400, f"a raw request holds whole windows of {window} bytes, this one has {len(body)}")
    shape = checked_shape([len(body) // window, form.policy.channels, form.policy.length], form.max_values)
    return prepare(from_binary(memoryview(body), shape), form, series=False)


def prepare(values: Float32, form: Form, *, series: bool) -> Float32:
    """Windows of the model's length out of what the sensor gave.

    A tensor that has the model's length is taken as it is, any other goes through the manifest's policy; with
    `series` each does, and NaN then means a missing value. Raises Refusal for values that are not finite (without
    `series`) and for too many windows, DataFault where the policy refuses.
    """
    policy = form.policy
    if values.shape[1] != policy.channels:
        raise Refusal(400, f"the model takes {policy.channels} channels, {values.shape[1]} were sent")
    if not series and not np.isfinite(values).all():
        raise Refusal(
            400, "a value is not finite; where NaN means a gap, say so by the input's parameter series: true"
        )
    if not series and values.shape[2] == policy.length:
        return values
    samples = resampled_length(values.shape[2], policy.rate_hz, policy.source_rate_hz)
    windows = (
        1 if policy.window is None else max(0, samples - policy.window) // (policy.stride or policy.window) + 1
    )
    size = max(samples, windows * policy.length) * policy.channels
    if len(values) * size > form.max_values:
        raise Refusal(413, f"the tensor becomes more than the {form.max_values} values that are taken at once")
    return np.concatenate([to_windows(one, policy) for one in values])


def _outputs(request: dict[str, Any], form: Form, *, binary: bool) -> list[tuple[str, bool]]:
    wanted = request.get("outputs")
    if wanted is None or wanted == []:
        return [(form.output, binary), (LABEL, binary)]
    if not isinstance(wanted, list) or len(wanted) > 2:
        raise Refusal(400, f"outputs is a list of {form.output!r} and {LABEL!r}")
    return [_output(_object(one, "an output"), form, binary) for one in wanted]


def _output(wanted: dict[str, Any], form: Form, binary: bool) -> tuple[str, bool]:
    name = wanted.get("name")
    if name not in (form.output, LABEL):
        raise Refusal(400, f"there is no output {str(name)[:60]!r}; there are {form.output!r} and {LABEL!r}")
    parameters = _object(wanted.get("parameters", {}), "an output's parameters")
    for unknown in ("classification", "shared_memory_region"):
        if parameters.get(unknown):
            raise Refusal(400, f"{unknown} is not offered; the output {LABEL!r} names the class")
    return name, parameters.get("binary_data", binary) is True
