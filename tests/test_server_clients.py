"""Clients that others wrote, unchanged: Triton's, KServe's, curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from live_server import INFER, Live, live, tensor, windows
from tritonclient.utils import InferenceServerException

from greenup_runtime import Runner

# A Python that has the package `kserve`, which is too large for the environment of the tests.
KSERVE = os.environ.get("GREENUP_KSERVE_PYTHON")


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("device")
    with live(home, folder, socket=home / "s.sock") as running:
        yield running


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return Runner(folder, allow_unsigned=True, home=tmp_path_factory.mktemp("own")).infer(windows(4))


@pytest.fixture
def client(server: Live) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as made:
        yield made


def given(binary: bool) -> list[triton.InferInput]:
    tensor = triton.InferInput("input", [4, 1, 32], "FP32")
    tensor.set_data_from_numpy(windows(4), binary_data=binary)
    return [tensor]


def test_triton_sees_health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.is_model_ready("small", "pruned")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "greenup-runner"
    assert client.get_model_metadata("small", "pruned")["versions"] == ["pruned"]
    assert [entry["state"] for entry in client.get_model_repository_index()] == ["READY", "READY"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_infers(
    client: triton.InferenceServerClient, expected: Any, binary_in: bool, binary_out: bool
) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("probabilities", "label")]
    result = client.infer("small", given(binary_in), outputs=outputs, request_id="seven")
    assert np.allclose(result.as_numpy("probabilities"), expected.probabilities, atol=1e-6)
    labels = [text.decode() if isinstance(text, bytes) else str(text) for text in result.as_numpy("label")]
    assert labels == expected.labels
    assert result.get_response()["id"] == "seven"
    assert result.get_response()["parameters"]["latency_s"] > 0


def test_triton_infers_without_naming_outputs(client: triton.InferenceServerClient, expected: Any) -> None:
    result = client.infer("small", given(True))
    assert np.allclose(result.as_numpy("probabilities"), expected.probabilities, atol=1e-6)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_triton_infers_compressed(client: triton.InferenceServerClient, expected: Any, compression: str) -> None:
    result = client.infer(
        "small",
        given(True),
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert np.allclose(result.as_numpy("probabilities"), expected.probabilities, atol=1e-6)


def test_triton_infers_several_at_once(client: triton.InferenceServerClient, expected: Any) -> None:
    pending = [client.async_infer("small", given(True), model_version="fp32") for _ in range(20)]
    for one in pending:
        assert np.allclose(one.get_result().as_numpy("probabilities"), expected.probabilities, atol=1e-6)


def test_triton_gets_errors_as_its_own_exception(client: triton.InferenceServerClient) -> None:
    wrong = triton.InferInput("input", [1, 3, 32], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3, 32), np.float32))
    with pytest.raises(InferenceServerException, match="1 channels"):
        client.infer("small", [wrong])
    with pytest.raises(InferenceServerException, match="there is no model"):
        client.infer("other", given(True))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_on_tcp_and_on_the_socket(server: Live, expected: Any) -> None:
    body = json.dumps(tensor(windows(4)))
    for how in ([f"http://127.0.0.1:{server.port}"], ["--unix-socket", server.store.home / "s.sock", "http://x"]):
        command = ["curl", "-sS", "--fail", *how[:-1], f"{how[-1]}{INFER}", "-d", body]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["outputs"][1]["data"] == expected.labels


_KSERVE_CALLS = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(url, windows):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    said = {"live": await client.is_server_live(url), "ready": await client.is_server_ready(url),
            "model": await client.is_model_ready(url, "small")}
    for binary in (False, True):
        tensor = InferInput("input", list(windows.shape), "FP32")
        tensor.set_data_from_numpy(windows, binary_data=binary)
        answer = await client.infer(url, InferRequest("small", [tensor], request_id="k"), model_name="small")
        said[str(binary)] = answer.outputs[0].as_numpy().tolist()
    print(json.dumps(said))

asyncio.run(main(sys.argv[1], np.array(json.loads(sys.argv[2]), np.float32)))
"""


@pytest.mark.skipif(KSERVE is None, reason="GREENUP_KSERVE_PYTHON names no Python that has kserve")
def test_kserve_infers(server: Live, expected: Any) -> None:
    url = f"http://127.0.0.1:{server.port}"
    command = [str(KSERVE), "-c", _KSERVE_CALLS, url, json.dumps(windows(4).tolist())]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["live"], said["ready"], said["model"]) == (True, True, True)
    for form in ("False", "True"):
        assert np.allclose(said[form], expected.probabilities, atol=1e-6)
