"""Answers survive a noisy shell; what is missing or cut is a fault of the link."""

from __future__ import annotations

import pytest

from greenup_runtime import wire
from greenup_runtime.errors import DeviceFault, IntegrityFault


def test_noise_before_and_after_an_answer_is_ignored() -> None:
    output = b"Welcome to pi5!\nlast login: never\n" + wire.encode_json({"a": [1]}) + b"\nlogout\n"
    assert wire.decode(output).json() == {"a": [1]}


def test_bytes_travel_unchanged() -> None:
    payload = bytes(range(256)) * 3
    assert wire.decode(b"noise" + wire.encode("bytes", payload)).data() == payload


def test_a_fault_is_raised_again_as_what_it_was() -> None:
    frame = wire.decode(wire.encode_fault(IntegrityFault("altered", "push again")))
    with pytest.raises(IntegrityFault, match="altered") as caught:
        frame.json()
    assert caught.value.hint == "push again"


@pytest.mark.parametrize("output", [b"", b"bash: greenup-runner: command not found\n"])
def test_no_answer_shows_what_came_instead(output: bytes) -> None:
    with pytest.raises(DeviceFault, match="no answer" + (".*command not found" if output else "")):
        wire.decode(output)


def test_a_cut_answer_is_found() -> None:
    with pytest.raises(DeviceFault, match="cut short"):
        wire.decode(wire.encode_json({"long": "x" * 50})[:-5])


def test_another_protocol_is_named() -> None:
    with pytest.raises(DeviceFault, match="protocol 9"):
        wire.decode(wire.encode_json({}).replace(b"/1 ", b"/9 "))
