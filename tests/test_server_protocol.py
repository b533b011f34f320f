"""The Open Inference Protocol over real sockets: what is answered, in which form, and what is refused how."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import small_bundle
from live_server import INFER, Kept, Live, binary, head, live, post, read, tensor, windows
from prometheus_client.parser import text_string_to_metric_families

from greenup_runtime import Runner
from greenup_runtime.preprocess import to_windows
from greenup_runtime.server import routes
from greenup_runtime.server.tensors import bytes_elements

OPENAPI = json.loads((Path(routes.__file__).with_name("openapi.json")).read_text())


@pytest.fixture(scope="module")
def recorder() -> Kept:
    return Kept()


@pytest.fixture(scope="module")
def server(folder: Path, recorder: Kept, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("device")
    with live(home, folder, recorder=recorder, socket=home / "run" / "s.sock") as running:
        yield running


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("own")
    return {
        name: Runner(folder, name, allow_unsigned=True, home=home).infer(windows(3)) for name in ("fp32", "pruned")
    }


def follows(schema: str, value: Any) -> None:
    jsonschema.validate(value, {"$ref": f"#/components/schemas/{schema}", "components": OPENAPI["components"]})


@pytest.mark.parametrize(
    ("path", "schema", "part"),
    [
        ("/v2", "Server", {"name": "greenup-runner"}),
        ("/v2/", "Server", {"name": "greenup-runner"}),
        ("/v2/health/live", "Live", {"live": True}),
        ("/v2/health/ready", "Ready", {"ready": True}),
        ("/v2/models", "Models", {"models": ["small"]}),
        ("/v2/models/small", "Model", {"versions": ["fp32", "pruned"]}),
        ("/v2/models/small/versions/pruned", "Model", {"versions": ["pruned"]}),
        ("/v2/models/sm%61ll/ready?x=1", "ModelReady", {"name": "small", "ready": True}),
        ("/v2/models/small/versions/pruned/ready", "ModelReady", {"ready": True}),
    ],
)
def test_resources_answer_in_the_protocols_form(
    server: Live, path: str, schema: str, part: dict[str, Any]
) -> None:
    reply = server.get(path)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    follows(schema, reply.json())
    assert part.items() <= reply.json().items()


def test_metadata_shows_a_free_batch_and_what_goes_in_and_out(server: Live) -> None:
    model = server.get("/v2/models/small").json()
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 32]}]
    assert [output["shape"] for output in model["outputs"]] == [[-1, 2], [-1]]


def test_the_index_lists_each_variant(server: Live) -> None:
    for method in ("GET", "POST"):
        index = server.get("/v2/repository/index", method).json()
        follows("Index", index)
        assert [entry["version"] for entry in index] == ["fp32", "pruned"]


def test_json_in_and_out(server: Live, expected: Any) -> None:
    reply = server.infer(tensor(windows(3), id="mine"))
    answer = reply.json()
    follows("InferResponse", answer)
    assert (answer["id"], answer["model_version"]) == ("mine", "fp32")
    probabilities, label = answer["outputs"]
    assert probabilities["shape"] == [3, 2]
    assert np.allclose(np.reshape(probabilities["data"], (3, 2)), expected["fp32"].probabilities, atol=1e-6)
    assert label["data"] == expected["fp32"].labels


def test_nested_data_is_the_same_as_flat(server: Live) -> None:
    request = tensor(windows(3))
    flat = server.infer(request).json()["outputs"]
    request["inputs"][0]["data"] = windows(3).tolist()
    assert server.infer(request).json()["outputs"] == flat


def test_binary_in_and_out(server: Live, expected: Any) -> None:
    body, header = binary(windows(3), parameters={"binary_data_output": True})
    reply = server.post("/v2/models/small/versions/pruned/infer", body, header)
    length = int(reply.headers["inference-header-content-length"])
    answer, tail = json.loads(reply.body[:length]), reply.body[length:]
    assert answer["model_version"] == "pruned"
    sizes = [output["parameters"]["binary_data_size"] for output in answer["outputs"]]
    assert sizes == [24, len(tail) - 24]
    assert np.array_equal(np.frombuffer(tail[:24], "<f4").reshape(3, 2), expected["pruned"].probabilities)
    assert tail[24:] == bytes_elements([name.encode() for name in expected["pruned"].labels])


def test_outputs_are_selected_each_in_its_form(server: Live) -> None:
    wanted = [{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    body, header = binary(windows(), outputs=wanted)
    reply = server.post(INFER, body, header)
    label, probabilities = json.loads(reply.body[: int(reply.headers["inference-header-content-length"])])[
        "outputs"
    ]
    assert label["name"] == "label"
    assert "data" not in label
    assert len(probabilities["data"]) == 2


def test_a_raw_request_is_nothing_but_windows(server: Live, expected: Any) -> None:
    reply = server.post(INFER, windows(3).tobytes(), "Inference-Header-Content-Length: 0")
    length = int(reply.headers["inference-header-content-length"])
    assert np.array_equal(
        np.frombuffer(reply.body[length : length + 24], "<f4").reshape(3, 2), expected["fp32"].probabilities
    )


def test_a_series_of_another_length_goes_through_the_policy(server: Live, folder: Path, tmp_path: Path) -> None:
    series = windows(2, 57)
    prepared = np.concatenate([to_windows(one, small_bundle.POLICY) for one in series])
    assert server.infer(tensor(series)).json()["outputs"] == server.infer(tensor(prepared)).json()["outputs"]


def test_gaps_are_filled_where_they_are_said_to_be_gaps(server: Live) -> None:
    request = tensor(windows())
    request["inputs"][0]["data"][4] = None
    assert "series" in server.infer(request).error
    request["inputs"][0]["parameters"] = {"series": True}
    assert server.infer(request).status == 200
    request["inputs"][0]["data"] = [None] * 32
    reply = server.infer(request)
    assert (reply.status, "no value at all" in reply.error) == (400, True)


def test_a_policy_that_segments_gives_several_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_bundle, "POLICY", replace(small_bundle.POLICY, window=40, stride=20))
    small_bundle.make(tmp_path / "b")
    with live(tmp_path / "device", tmp_path / "b", max_body_bytes=4096) as server:
        assert server.infer(tensor(windows(1, 100))).json()["outputs"][0]["shape"] == [4, 2]
        reply = server.infer(tensor(windows(1, 39)))
        assert (reply.status, "39 samples, a window takes 40" in reply.error) == (400, True)


def test_a_graph_with_a_batch_of_one_is_asked_several_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Any
) -> None:
    made = small_bundle._head
    monkeypatch.setattr(small_bundle, "_head", lambda: {**made(), "input": {**made()["input"], "batch": "1"}})
    small_bundle.make(tmp_path / "b")
    with live(tmp_path / "device", tmp_path / "b") as server:
        assert server.get("/v2/models/small").json()["inputs"][0]["shape"] == [-1, 1, 32]
        answer = server.infer(tensor(windows(3))).json()
        assert answer["outputs"][1]["data"] == expected["fp32"].labels


def test_each_answer_tells_latency_record_and_energy(server: Live, recorder: Kept) -> None:
    before = len(recorder.told)
    answer = server.infer(tensor(windows(2))).json()
    parameters = answer["parameters"]
    _, variant, began_s, ended_s, count = recorder.told[before]
    assert (variant, count) == ("fp32", 2)
    assert parameters["latency_s"] == pytest.approx(ended_s - began_s, abs=1e-9)
    assert (parameters["record_id"], parameters["energy_j"]) == (f"r{before + 1}", 0.25)
    assert parameters["energy_method"] == "counter"
    assert answer["id"]
    follows("Parameters", parameters)


def test_compressed_bodies(server: Live) -> None:
    body = json.dumps(tensor(windows())).encode()
    for encoding, squeezed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        assert server.post(INFER, squeezed, f"Content-Encoding: {encoding}").status == 200
    assert server.post(INFER, body, "Content-Encoding: br").status == 415


def test_chunked_bodies(server: Live) -> None:
    body = json.dumps(tensor(windows())).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 50]), body[i : i + 50]) for i in range(0, len(body), 50))
    request = head("POST", INFER, "Transfer-Encoding: chunked") + b"\r\n" + pieces + b"0\r\n\r\n"
    assert server.ask(request).status == 200


def test_a_client_may_ask_before_it_sends_the_body(server: Live) -> None:
    body = json.dumps(tensor(windows())).encode()
    with server.connect() as link:
        link.sendall(head("POST", INFER, f"Content-Length: {len(body)}", "Expect: 100-continue") + b"\r\n")
        assert read(link).status == 100
        link.sendall(body)
        assert read(link).status == 200


def test_head_and_options(server: Live) -> None:
    with server.connect() as link:
        link.sendall(head("HEAD", "/v2") + b"\r\n")
        reply = read(link, body=False)
        assert (reply.status, reply.body) == (200, b"")
        assert int(reply.headers["content-length"]) > 0
        link.sendall(head("OPTIONS", INFER) + b"\r\n")
        assert read(link).headers["allow"] == "POST, OPTIONS"
    assert server.get(INFER).status == 405
    assert server.get("/v2", "DELETE").headers["allow"] == "GET, HEAD, OPTIONS"


def test_pipelined_requests_are_answered_in_order(server: Live) -> None:
    slow = json.dumps(tensor(windows(600), id="slow")).encode()
    assert len(slow) > 64 << 10
    quick = [json.dumps(tensor(windows(), id=f"q{i}")).encode() for i in range(20)]
    with server.connect() as link:
        link.sendall(b"".join(post(INFER, body) for body in [slow, *quick]))
        rest, ids = b"", []
        for _ in range(21):
            while b"\r\n\r\n" not in rest:
                rest += link.recv(65536)
            reply = read(link, rest)
            length = int(reply.headers["content-length"])
            rest, reply.body = reply.body[length:], reply.body[:length]
            ids.append(reply.json()["id"])
    assert ids == ["slow", *(f"q{i}" for i in range(20))]


def test_http_1_0_closes_after_the_answer(server: Live) -> None:
    with server.connect() as link:
        link.sendall(b"GET /v2 HTTP/1.0\r\n\r\n")
        assert read(link).status == 200
        assert link.recv(1) == b""


def test_a_client_that_has_said_all_is_still_answered(server: Live) -> None:
    with server.connect() as link:
        link.sendall(post(INFER, json.dumps(tensor(windows(600))).encode()))
        link.shutdown(socket.SHUT_WR)
        assert read(link).status == 200


def test_the_unix_socket_speaks_the_same(server: Live) -> None:
    path = server.store.home / "run" / "s.sock"
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        link.sendall(post(INFER, json.dumps(tensor(windows())).encode()))
        assert read(link).status == 200


def change(**values: Any) -> dict[str, Any]:
    request = tensor(windows())
    request["inputs"][0].update(values)
    return request


@pytest.mark.parametrize(
    ("request_", "part"),
    [
        ([], "no JSON object"),
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [1]}, "no JSON object"),
        ({**tensor(windows()), "id": 5}, "id is no string"),
        ({**tensor(windows()), "parameters": 5}, "parameters"),
        ({**tensor(windows()), "outputs": [{"name": "nope"}]}, "no output 'nope'"),
        ({**tensor(windows()), "outputs": 5}, "outputs"),
        (
            {**tensor(windows()), "outputs": [{"name": "label", "parameters": {"classification": 2}}]},
            "classification",
        ),
        (change(name="other"), "name is 'input'"),
        (change(datatype="FP64"), "datatype is FP32"),
        (change(datatype=None), "datatype is FP32"),
        (change(shape=[1, 32]), "three whole numbers"),
        (change(shape=[0, 1, 32]), "above 0"),
        (change(shape=[True, 1, 32]), "three whole numbers"),
        (change(shape=[1, 1, -32]), "above 0"),
        (change(shape=[1, 2, 16]), "1 channels"),
        (change(shape=[2, 1, 32]), "tensor's is [2, 1, 32]"),
        (change(data="text"), "no list of numbers"),
        (change(data=[["1"] * 32]), "no list of numbers"),
        (change(data=[True] * 32), "no list of numbers"),
        (change(data=[[1.0], [1.0, 2.0]]), "no list of numbers"),
        (change(data=[{}] * 32), "no number"),
        (change(data=[1e39] * 32), "not finite"),
        (change(data=[10**400] * 32), "no list of numbers"),
        (change(parameters={"shared_memory_region": "x"}), "shared memory"),
        (change(parameters={"binary_data_size": 128}), "binary_data_size"),
    ],
)
def test_wrong_requests_are_refused_with_the_reason(server: Live, request_: Any, part: str) -> None:
    reply = server.infer(request_)
    assert (reply.status, part in reply.error) == (400, True), reply.body


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", (), 400),
        (b"{", (), 400),
        (b"\xff\xfe", (), 400),
        (b"[" * 30_000, (), 400),
        (b'{"inputs": NaN}', (), 400),
        (b"1" * 5000, (), 400),
        (b"{}", ("Inference-Header-Content-Length: 3",), 400),
        (b"{}", ("Inference-Header-Content-Length: -1",), 400),
        (b"{}", ("Inference-Header-Content-Length: 99999999999999",), 400),
        (b"123", ("Inference-Header-Content-Length: 0",), 400),
        (b"", ("Inference-Header-Content-Length: 0",), 400),
    ],
)
def test_broken_bodies_are_refused(server: Live, body: bytes, headers: tuple[str, ...], status: int) -> None:
    reply = server.post(INFER, body, *headers)
    assert reply.status == status
    assert reply.error


def test_binary_tensors_of_another_size_or_not_finite_are_refused(server: Live) -> None:
    body, header = binary(windows())
    assert "binary_data_size" in server.post(INFER, body[:-4], header).error
    broken = windows()
    broken[0, 0, 3] = np.nan
    body, header = binary(broken)
    assert "not finite" in server.post(INFER, body, header).error


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/models",
        "/v2/models/other",
        "/v2/models/small/versions/none",
        "/v2/models/small/nope",
        "/v2/x/%ff%00",
    ],
)
def test_what_is_not_there_is_404(server: Live, path: str) -> None:
    reply = server.get(path)
    assert reply.status == 404
    assert reply.error


def test_an_unknown_version_names_those_there_are(server: Live) -> None:
    reply = server.infer(tensor(windows()), path="/v2/models/small/versions/none/infer")
    assert (reply.status, "it has: fp32, pruned" in reply.error) == (404, True)


def test_metrics_are_read_by_prometheus_own_parser(server: Live) -> None:
    server.infer(tensor(windows(2)))
    server.infer({})
    reply = server.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}
    requests = {
        (sample.labels["code"], sample.labels["variant"]): sample.value
        for sample in families["greenup_requests"].samples
    }
    assert requests["200", "fp32"] >= 1
    assert requests["400", ""] >= 1
    latency = families["greenup_request_latency_seconds"].samples
    counts = {s.labels["variant"]: s.value for s in latency if s.name.endswith("_count")}
    last = {s.labels["variant"]: s.value for s in latency if s.labels.get("le") == "+Inf"}
    assert counts == last
    assert families["greenup_request_latency_seconds"].type == "histogram"
    assert families["greenup_energy_joules"].samples[0].value == 1.5
    assert families["greenup_energy_joules"].type == "counter"
    assert families["greenup_spool_records"].samples[0].value == 3
    assert families["greenup_meter_info"].samples[0].labels == {"value": 'ra"pl\n'}
    assert families["greenup_info"].samples[0].labels["variant"] == "fp32"
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6
    assert families["greenup_connections"].samples[0].value >= 1


def test_the_description_is_served(server: Live) -> None:
    assert server.get("/openapi.json").json() == OPENAPI


def test_in_process_the_same_comes_out(server: Live, folder: Path, expected: Any, tmp_path: Path) -> None:
    with Runner(folder, allow_unsigned=True, home=tmp_path) as runner:
        assert runner.infer(windows()[0, 0]).label == expected["fp32"].label
        assert runner.infer(windows()[0, 0].tolist()).probabilities.shape == (1, 2)
        assert runner.infer(np.full((1, 100), 2.0)).labels[0] in small_bundle.CLASSES
