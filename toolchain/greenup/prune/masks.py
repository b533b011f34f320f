"""Unstructured L1 pruning as the paper does it: single weights become zero, and nothing becomes smaller.

It is here for the comparison only: every zero is still stored and multiplied.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils import prune as torch_prune

from greenup.model import Classifier, ModelConfig
from greenup.prune.shrink import Scope
from greenup.weights import State
from greenup_runtime.errors import UsageFault


def unstructured(config: ModelConfig, state: State, share: float, scope: Scope = "layer") -> State:
    """Weights with the share of smallest magnitude in every linear map and convolution set to zero.

    `torch.nn.utils.prune.l1_unstructured` for each (scope `layer`) or over all of them at once (`global`), its
    masks then baked in. The shapes stay. Raises UsageFault for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise UsageFault(f"a share of {share:g} cannot be masked", "give a share from 0 to below 1")
    model = Classifier(config)
    model.load_state_dict(state)
    places = [(module, "weight") for module in model.modules() if isinstance(module, nn.Linear | nn.Conv1d)]
    if scope == "global":
        torch_prune.global_unstructured(places, torch_prune.L1Unstructured, amount=share)
    else:
        for module, name in places:
            torch_prune.l1_unstructured(module, name, amount=share)
    for module, name in places:
        torch_prune.remove(module, name)
    masked = model.state_dict()
    return {name: masked[name].detach().clone() for name in state}
