"""Pruning in steps with training between them, so that what stays can take over from what goes.

The shares rise by the cubic schedule of Zhu and Gupta 2017, "To prune, or not to prune": most goes first, while
there is still much to spare. After k steps the widths are those of one cut.
"""

from __future__ import annotations

from pathlib import Path

from greenup.distill import Teacher
from greenup.epochs import Cases
from greenup.model import ModelConfig
from greenup.prune.saliency import batches_of
from greenup.prune.shrink import PrunePlan, shrink_from
from greenup.recipe import TrainSpec
from greenup.train import Progress, TrainResult, train
from greenup.weights import State
from greenup_runtime.errors import UsageFault


def gradual(
    config: ModelConfig,
    state: State,
    plan: PrunePlan,
    spec: TrainSpec,
    cases: Cases,
    validation: Cases,
    *,
    steps: int,
    seed: int,
    folder: Path,
    teacher: Teacher | None = None,
    progress: Progress | None = None,
) -> tuple[ModelConfig, TrainResult]:
    """Cut and train `steps` times, each time by `spec`, following `teacher`.

    Checkpoints lie in `folder/step-…`: called again after a kill with the same arguments, it goes on where it was
    and ends with the same bits. Raises UsageFault for less than one step, and what `train` raises.
    """
    if steps < 1:
        raise UsageFault(f"pruning in {steps} steps prunes nothing", "give prune.steps = 1 or more")
    reference, layers, result = config, len(config.heads), None
    for step in range(1, steps + 1):
        part = plan.scaled(1 - (1 - step / steps) ** 3)
        batches = batches_of(cases, seed=seed) if plan.importance == "taylor" else None
        config, state, reference = shrink_from(config, state, part, batches, reference, layers)
        result = train(
            config,
            spec,
            cases,
            validation,
            seed=seed,
            folder=folder / f"step-{step}",
            progress=progress,
            initial_state=state,
            teacher=teacher,
        )
        state = result.state
    assert result is not None
    return config, result
