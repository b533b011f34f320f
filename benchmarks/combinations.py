"""Which models the benchmarks are about: data sets × presets × seeds, and the recipe of each.

Every benchmark takes its recipes from here, so that they share trained models through the cache.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from greenup import recipe as recipes
from greenup_runtime.store import HOME_VARIABLE

ROOT = Path(__file__).parent.parent
OUT = ROOT / "greenup-out"
SETS = ("refrigeration-devices", "plaid", "small-kitchen-appliances")
PRESETS = ("base", "t1", "t2")
# The preset that a set's accuracy is reported with gets more seeds than the others.
REPORTED = "base"
REPORTED_SEEDS, OTHER_SEEDS = 5, 2
QUICK_EPOCHS = 3
_PLACES = ("--json", "--out", "--olive", "--mlserver", "--data-dir")


class Combination(NamedTuple):
    """One model: a data set (the name of its example), a preset, a seed."""

    set: str
    preset: str
    seed: int

    @property
    def name(self) -> str:
        """As folders carry it."""
        return f"{self.set}-{self.preset}-{self.seed}"

    def recipe(self, quick: bool = False) -> recipes.Recipe:
        """The example's recipe with this preset and seed; `quick` trains a few epochs, which show nothing."""
        recipe = recipes.load(ROOT / f"examples/{self.set}.toml", self.seed)
        if self.preset != recipe.model.preset:
            # A recipe's own widths and training are for its own preset: with its learning rate t1 learns nothing.
            own = {"model": recipes.ModelSpec(preset=self.preset), "train": recipes.TrainSpec()}
            recipe = recipe.model_copy(update=own)
        return _shortened(recipe) if quick else recipe


def own_runner() -> None:
    """Measure on this machine as a device of the benchmarks' own: what the user's runner serves stays as it is.

    `GREENUP_RUNNER_HOME` names another. All benchmarks share it, so that trials can be used again.
    """
    os.environ.setdefault(HOME_VARIABLE, str(OUT / "bench-runner"))


def command_line(script: str) -> str:
    """The command as tables show it, without options that name places of this machine."""
    shown, words = [f"python benchmarks/{script}"], iter(sys.argv[1:])
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in _PLACES:
            shown.append(word)
        elif not equals:
            next(words, None)
    return " ".join(shown)


def _shortened(recipe: recipes.Recipe) -> recipes.Recipe:
    train = recipe.train.model_copy(update={"epochs": min(recipe.train.epochs, QUICK_EPOCHS)})
    prune = recipe.prune.model_copy(update={"epochs": min(recipe.prune.epochs, 1)})
    short = {"burst_s": 0.1, "pilot_rounds": 4, "max_rounds": 4}
    measure = recipe.measure.model_copy(update=short)
    return recipe.model_copy(update={"train": train, "prune": prune, "measure": measure})


def ordered(sets: Sequence[str], presets: Sequence[str], seeds: int | None = None) -> Iterator[Combination]:
    """All combinations, most useful first: the first seed of everything, then the next.

    `seeds` is how many of each; if left out, 5 of the reported preset and 2 of the others.
    """
    counts = {preset: seeds or (REPORTED_SEEDS if preset == REPORTED else OTHER_SEEDS) for preset in presets}
    for seed in range(max(counts.values())):
        for preset in presets:
            if seed < counts[preset]:
                yield from (Combination(name, preset, seed) for name in sets)


def wanted(arguments: argparse.Namespace, presets: Sequence[str] = PRESETS) -> list[Combination]:
    """The combinations that a benchmark's user named: all if none; `--quick` is one seed of four of them."""
    sets, chosen = arguments.sets or SETS, arguments.presets or presets
    found = list(ordered(sets, chosen, 1 if arguments.quick else arguments.seeds))
    if arguments.quick and not arguments.sets:
        return [one for one in found if one.preset == REPORTED or (one.preset, one.set) == ("t1", SETS[-1])]
    return found


def add_to(parser: argparse.ArgumentParser) -> None:
    """The options by which a benchmark's user names combinations."""
    parser.add_argument("--sets", nargs="+", choices=SETS)
    parser.add_argument("--presets", nargs="+", choices=PRESETS)
    parser.add_argument(
        "--seeds", type=int, help=f"of each; {REPORTED_SEEDS} of {REPORTED}, {OTHER_SEEDS} of others"
    )
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument(
        "--quick", action="store_true", help="one seed, few epochs: shows that it runs, no figures"
    )
