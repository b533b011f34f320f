"""The processes of serving.py: a bundle of an untrained model, greenup's server, MLServer, a bare session."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from serving_clients import Float32, Kept, binary_request, json_request

from greenup import bundle as packing
from greenup import graph
from greenup.intervals import wilson
from greenup.model import Classifier
from greenup.onnx_facts import facts
from greenup.presets import config_for
from greenup.recipe import ModelSpec
from greenup_runtime.bundle import BASELINE, Bundle, open_folder
from greenup_runtime.engine import Engine
from greenup_runtime.preprocess import InputPolicy

LENGTH, CLASSES = 720, ("off", "on", "both")
NAME = "served"
PATH = f"/v2/models/{NAME}/infer"
# Where its latency is 0.1 ms: what runs on a small board is slower, which makes an overhead look smaller.
MODEL = ModelSpec(preset="base", layers=1, heads=1, d_model=32, d_ff=64)
_GIVE_UP_S = 60.0
BARE = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"input": numpy.zeros((1, 1, int(sys.argv[2])), "float32")})
print("listening", flush=True)
sys.stdin.read()
"""
# The least that any server costs: one window's bytes in, the probabilities' bytes out, on a blocking socket.
FLOOR = BARE.replace(
    'print("listening", flush=True)\nsys.stdin.read()',
    """
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[3])
listener.listen()
print("listening", flush=True)
link, _ = listener.accept()
size = 4 * int(sys.argv[2])
while data := link.recv(size, socket.MSG_WAITALL):
    window = numpy.frombuffer(data, "float32").reshape(1, 1, -1)
    link.sendall(session.run(None, {"input": window})[0].tobytes())
""",
)
# The same through asyncio: the least that a server costs which serves many connections and ends in time.
ECHO = (
    FLOOR[: FLOOR.index("import socket")]
    + """
import asyncio
size = 4 * int(sys.argv[2])
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
    def data_received(self, data):
        self.data += data
        if len(self.data) >= size:
            window = numpy.frombuffer(self.data, "float32").reshape(1, 1, -1)
            self.data = b""
            self.transport.write(session.run(None, {"input": window})[0].tobytes())
async def main():
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(Echo, sys.argv[3])
    await loop.create_server(Echo, "127.0.0.1", int(sys.argv[4]))
    print("listening", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
)


def make_bundle(folder: Path) -> tuple[Bundle, Path]:
    """A bundle with one variant of a model with random weights, and the variant's file."""
    config = config_for(MODEL, 1, LENGTH, len(CLASSES), "zscore")
    path = folder / "model.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    graph.best_form(config, dict(Classifier(config).state_dict()))(path)
    windows = np.random.default_rng(0).normal(size=(4, 1, LENGTH)).astype(np.float32)
    expected = {BASELINE: Engine(path, "1").infer(windows)}
    accuracy = vars(wilson(1, 3))
    about = {**asdict(facts(path)), "accuracy": {"validation": accuracy, "test": accuracy}, "agreement": 1.0}
    variant = packing.PackedVariant(BASELINE, path.read_bytes(), {**about, "tolerance": 1e-4, "isa": []})
    packing.pack(folder / "bundle", _head(), [variant], packing.golden_bytes(windows, expected))
    return open_folder(folder / "bundle"), path


def _head() -> dict[str, Any]:
    lengths = {"rate_hz": None, "source_rate_hz": None, "window": None, "stride": None}
    policy = InputPolicy(channels=1, length=LENGTH, equalize="resample", missing="interpolate", **lengths)
    dataset = {"name": NAME, "split_id": "none", "files": [], "train": 0, "validation": 0, "test": 0, "notes": []}
    window = {"channels": 1, "length": LENGTH, "dtype": "float32", "normalize": "zscore", "batch": "1"}
    head = {"name": NAME, "recipe": "0" * 64, "baseline": BASELINE, "classes": list(CLASSES)}
    head |= {"budget": {"accuracy_drop_points": 1.0}, "dataset": dataset}
    return {**head, "input": {**window, "policy": policy.to_json()}}


@dataclass
class Served:
    """A process that answers, how long it took from its start to its first answer, and how to ask it."""

    process: subprocess.Popen[bytes]
    first_s: float
    tcp: tuple[str, int] | None = None
    unix: str | None = None

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the process and of all below it."""
        return sum(_status(pid)["VmRSS"] for pid in _family(self.process.pid))

    @property
    def descriptors(self) -> int:
        """Open files and sockets."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def stop(self) -> None:
        """End it, gently first."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def greenup(bundle: Bundle, scratch: Path, cores: set[int], window: Float32) -> Served:
    """The runner's server on TCP and a Unix socket."""
    unix, port = str(scratch / "runner.sock"), free_port()
    command = [sys.executable, "-m", "greenup_runtime.cli", "--home", str(scratch / "home"), "serve"]
    command += [str(bundle.blobs.parent.parent), "--allow-unsigned", "--port", str(port), "--socket", unix]
    tcp = ("127.0.0.1", port)
    served = _started(command, scratch, cores, lambda: Kept(tcp, binary_request(PATH, window))())
    served.tcp, served.unix = tcp, unix
    return served


def mlserver(python: Path, model: Path, scratch: Path, cores: set[int], window: Float32) -> Served:
    """MLServer with the same file, in one process (its quickest form for one core), without gzip."""
    folder = scratch / "mlserver"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {"debug": False, "parallel_workers": 0, "host": "127.0.0.1", "gzip_enabled": False}
    settings |= {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps(settings))
    about = {"name": NAME, "implementation": "mlserver_model.OnnxModel", "parameters": {"uri": str(model)}}
    (folder / "model-settings.json").write_text(json.dumps(about))
    shutil.copy(Path(__file__).with_name("mlserver_model.py"), folder)
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    tcp = ("127.0.0.1", port)
    served = _started(command, folder, cores, lambda: Kept(tcp, json_request(PATH, window))())
    served.tcp = tcp
    return served


def bare(model: Path, scratch: Path, cores: set[int]) -> Served:
    """A process that has onnxruntime and one session, and answered once."""
    began_s = time.perf_counter()
    command = [sys.executable, "-c", BARE, str(model), str(LENGTH)]
    process = _spawn(command, scratch, cores, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return Served(process, time.perf_counter() - began_s)


def floor(model: Path, scratch: Path, server: set[int]) -> Served:
    """A process that does nothing but receive bytes, run the session and send bytes, for one connection."""
    return _bytes(FLOOR, "floor", model, scratch, server)


def echo(model: Path, scratch: Path, server: set[int]) -> Served:
    """The same on asyncio, at a Unix socket and TCP, for any number of connections."""
    return _bytes(ECHO, "echo", model, scratch, server)


def _bytes(program: str, name: str, model: Path, scratch: Path, server: set[int]) -> Served:
    unix, port = str(scratch / f"{name}.sock"), free_port()
    began_s = time.perf_counter()
    command = [sys.executable, "-c", program, str(model), str(LENGTH), unix, str(port)]
    process = _spawn(command, scratch, server, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return Served(process, time.perf_counter() - began_s, ("127.0.0.1", port), unix)


def _started(command: list[str], folder: Path, cores: set[int], ask: Callable[[], object]) -> Served:
    began_s = time.perf_counter()
    log = (folder / "server.log").open("ab")
    process = _spawn(command, folder, cores, stdout=log)
    while True:
        try:
            ask()
            return Served(process, time.perf_counter() - began_s)
        except OSError as error:
            if process.poll() is not None or time.perf_counter() - began_s > _GIVE_UP_S:
                process.kill()
                text = (folder / "server.log").read_text()[-2000:]
                raise RuntimeError(f"{command[0]} did not come to answer: {error}\n{text}") from error
            time.sleep(0.005)


def _spawn(command: list[str], folder: Path, cores: set[int], stdout: Any) -> subprocess.Popen[bytes]:
    def pinned() -> None:
        os.sched_setaffinity(0, cores)

    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.STDOUT, preexec_fn=pinned
    )


def free_port() -> int:
    """A TCP port that nobody listens at now."""
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return int(link.getsockname()[1])


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _status(pid: int) -> dict[str, int]:
    """The sizes in a process's status, in bytes."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {parts[0].rstrip(":"): 1024 * int(parts[1]) for parts in lines if parts[-1:] == ["kB"]}
