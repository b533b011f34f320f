"""A student follows its teacher: measured on a tiny task, and resumed to the same bits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from greenup.distill import Teacher
from greenup.model import ModelConfig
from greenup.recipe import DistillSpec, TrainSpec
from greenup.train import predict, train

CONFIG = ModelConfig(
    channels=1,
    length=24,
    classes=2,
    normalize="zscore",
    patch=8,
    stride=4,
    d_model=8,
    d_head=4,
    heads=(2,),
    d_ff=(16,),
    dropout=0.0,
)
SPEC = TrainSpec(epochs=6, batch=16, threads=1, augment=False, learning_rate=3e-3)


@dataclass(frozen=True)
class Cases:
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]


def cases(seed: int, flipped: bool = False) -> Cases:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 64)
    x = np.sin(np.linspace(0, 6, 24)) * np.where(y, 1, -1)[:, None] + 0.3 * rng.normal(size=(64, 24))
    return Cases(x[:, None].astype(np.float32), (1 - y if flipped else y).astype(np.int64))


def test_a_student_believes_its_teacher_rather_than_wrong_labels(tmp_path: Path) -> None:
    taught = train(CONFIG, SPEC, cases(0), cases(1), seed=0, folder=tmp_path / "teacher")
    teacher = Teacher([(CONFIG, taught.state)], DistillSpec(weight=1.0))
    wrong = cases(0, flipped=True)
    # The student's validation labels are right: choosing an epoch is not what is tested.
    student = train(CONFIG, SPEC, wrong, cases(1), seed=1, folder=tmp_path / "student", teacher=teacher)
    test = cases(2)
    labels = predict(CONFIG, student.state, test.x).argmax(axis=1)
    assert (labels == test.y).mean() > 0.9


def test_probabilities_are_the_mean_over_teachers_and_softened(tmp_path: Path) -> None:
    state = train(CONFIG, SPEC, cases(0), cases(1), seed=0, folder=tmp_path / "a").state
    other = train(CONFIG, SPEC, cases(0), cases(1), seed=5, folder=tmp_path / "b").state
    x = torch.from_numpy(cases(3).x)

    def asked(*states: dict[str, torch.Tensor], temperature: float) -> torch.Tensor:
        members = [(CONFIG, each) for each in states]
        return Teacher(members, DistillSpec(temperature=temperature)).probabilities(x)

    mean = (asked(state, temperature=2.0) + asked(other, temperature=2.0)) / 2
    assert torch.allclose(asked(state, other, temperature=2.0), mean, atol=1e-6)
    assert asked(state, temperature=4.0).amax(dim=1).mean() < asked(state, temperature=1.0).amax(dim=1).mean()


def test_another_teacher_is_another_run(tmp_path: Path) -> None:
    state = train(CONFIG, SPEC, cases(0), cases(1), seed=0, folder=tmp_path / "a").state
    one = Teacher([(CONFIG, state)], DistillSpec())
    changed = {name: value + 0.1 for name, value in state.items()}
    assert one.digest() != Teacher([(CONFIG, changed)], DistillSpec()).digest()
    assert one.digest() != Teacher([(CONFIG, state)], DistillSpec(temperature=3.0)).digest()
