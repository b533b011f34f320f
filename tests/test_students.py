"""Students: fewer tokens, layers, heads, narrower; what they take over from their teacher."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import small_model as small
import torch

from greenup.model import Classifier
from greenup.students import initialise, student
from greenup.train import predict
from greenup_runtime.errors import UsageFault


def test_what_is_not_named_stays() -> None:
    config, state = small.trained()
    assert student(config) == config
    same = initialise(config, config, state)
    assert all(torch.equal(value, same[name]) for name, value in state.items())


@pytest.mark.parametrize("preset", ["base", "t1"])
def test_every_way_to_be_smaller_gives_a_model_that_works(preset: str) -> None:
    config, state = small.trained(preset)
    ways = ({"layers": 1}, {"heads": 1}, {"d_ff": 8}, {"d_model": 8}, {"patch_factor": 2, "stride_factor": 2})
    both = {key: value for way in ways for key, value in way.items()}
    for way in (*ways, both, {"pooling": "cls" if preset == "base" else "mean"}):
        smaller = student(config, **way)
        given = initialise(smaller, config, state)
        Classifier(smaller).load_state_dict(given)
        assert np.isfinite(predict(smaller, given, small.VALIDATION.x[:4])).all()
    assert student(config, patch_factor=2, stride_factor=2).tokens <= config.tokens // 2 + 1


def test_layers_are_taken_evenly_and_heads_by_importance() -> None:
    config = small.small()
    four = dataclasses.replace(config, heads=(4,) * 4, d_ff=(32,) * 4)
    teacher = Classifier(four).state_dict()
    smaller = student(four, layers=2, heads=2, d_head=config.d_head)
    given = initialise(smaller, four, teacher)
    assert torch.equal(given["layers.1.up.weight"], teacher["layers.2.up.weight"])
    mine = given["layers.0.attention.out.weight"].reshape(16, 2, -1)
    theirs = teacher["layers.0.attention.out.weight"].reshape(16, 4, -1)
    assert all(any(torch.equal(mine[:, i], theirs[:, j]) for j in range(4)) for i in range(2))


def test_longer_patches_answer_a_constant_like_the_teacher() -> None:
    config, state = small.trained("t1")
    smaller = student(config, patch_factor=2, stride_factor=2)
    given = initialise(smaller, config, state)["embed.patches.map.weight"]
    assert given.shape[-1] == 16
    torch.testing.assert_close(given.sum(dim=-1), state["embed.patches.map.weight"].sum(dim=-1))


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ({"heads": 3}, "do not share a width"),
        ({"stride_factor": 4}, "larger than the patch"),
        ({"layers": 0}, "at least"),
    ],
)
def test_widths_that_do_not_fit_are_refused(way: dict[str, int], words: str) -> None:
    with pytest.raises(UsageFault, match=words):
        student(small.small(), **way)  # type: ignore[arg-type]
