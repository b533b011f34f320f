"""Structured pruning: heads, feed-forward neurons, layers and token width are cut out, and matrices get smaller.

Masks of zeros (`torch.nn.utils.prune`) leave every multiplication in place and save neither time nor energy.
Here the smaller matrices are cut out of the old ones; what is left is an ordinary model with its own
`ModelConfig`, which loads from its configuration and its weights alone.

    saliency   how much each single weight matters: L1 or first-order Taylor
    cut        take structures out of a set of weights
    shrink     from shares to what goes and what stays
    gradual    in steps, with training between them
    masks      the paper's unstructured pruning, for comparison
"""

from __future__ import annotations

from greenup.model import ModelConfig
from greenup.prune.gradual import gradual
from greenup.prune.masks import unstructured
from greenup.prune.saliency import Batch, batches_of
from greenup.prune.shrink import PrunePlan, shrink
from greenup.recipe import PruneSpec, TrainSpec
from greenup.weights import State

__all__ = [
    "Batch",
    "PrunePlan",
    "batches_of",
    "fine_tuning",
    "gradual",
    "plan_of",
    "prune",
    "shrink",
    "unstructured",
]


def plan_of(spec: PruneSpec, multiple: int = 8) -> PrunePlan:
    """A recipe's `[prune]` as a plan; `multiple` is what the target's kernels like widths to be."""
    return PrunePlan(
        heads=spec.heads,
        ffn=spec.ffn,
        layers=spec.layers,
        width=spec.width,
        importance=spec.importance,
        scope=spec.scope,
        multiple=multiple,
    )


def prune(
    config: ModelConfig, state: State, spec: PruneSpec, batches: list[Batch] | None = None
) -> tuple[ModelConfig, State]:
    """The smaller model that a recipe's `[prune]` asks for, in one cut and without training.

    At least one head and one layer stay, and neurons in steps of eight, at least eight; so less than asked may go.
    """
    return shrink(config, state, plan_of(spec), batches)


def fine_tuning(spec: TrainSpec, prune: PruneSpec) -> TrainSpec:
    """The training settings for the epochs after each cut; the best epoch counts: no cut gets worse."""
    changed = {"epochs": prune.epochs, "learning_rate": prune.learning_rate, "choose": "best"}
    return spec.model_copy(update=changed)
