"""Out-of-fold accuracy of what might teach a model, or give it features: QUANT, MiniRocket, sorted values.

    python benchmarks/teachers.py RECIPE [--blocks] [--only NAME …] [--folds 5] [--seed 0]

Training cases only, divided as by folds.py. Features are drawn from all training cases, without their classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from aeon.transformations.collection.convolution_based import MiniRocket
from aeon.transformations.collection.interval_based import QUANTTransformer
from folds import blocks, overridden
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from greenup import recipe as recipes
from greenup.data import load
from greenup.intervals import wilson
from greenup.tune.folds import divide, everything

Float = npt.NDArray[Any]
_RANKS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--blocks", action="store_true", help="folds are runs of neighbours in the file")
    parser.add_argument("--only", nargs="+", choices=list(_CONTENDERS), default=list(_CONTENDERS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    recipe = recipes.parse(overridden(arguments.recipe, []))
    cases = everything(load(recipe.data, name=recipe.data.dataset or recipe.name, seed=recipe.seed))
    count = arguments.folds
    fold_of = blocks(cases, count) if arguments.blocks else divide(cases, count, arguments.seed)
    for name in arguments.only:
        features, model = _CONTENDERS[name]
        x = features(cases.x, arguments.seed)
        right = 0
        for fold in range(count):
            held = fold_of == fold
            fitted = model(arguments.seed).fit(x[~held], cases.y[~held])
            right += int((fitted.predict(x[held]) == cases.y[held]).sum())
        found = wilson(right, len(cases.y))
        print(
            f"{recipe.name}: {name} {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] out of fold", flush=True
        )


def _quant(x: Float, _seed: int) -> Float:
    return np.asarray(QUANTTransformer().fit_transform(x.astype(np.float64)), dtype=np.float32)


def _minirocket(x: Float, seed: int) -> Float:
    return np.asarray(MiniRocket(random_state=seed).fit_transform(x))


def _sorted(x: Float, _seed: int) -> Float:
    """Evenly spaced order statistics of each channel: [n, c, l] → [n, c·16]."""
    ranks = np.linspace(0, x.shape[-1] - 1, _RANKS).round().astype(int)
    return np.sort(x, axis=-1)[..., ranks].reshape(len(x), -1)


def _trees(seed: int) -> Any:
    """QUANT's own classifier."""
    return ExtraTreesClassifier(200, max_features=0.1, criterion="entropy", random_state=seed)


def _ridge(_seed: int) -> Any:
    """MiniRocket's own classifier."""
    return make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-1, 5, 10)))


def _linear(_seed: int) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))


_CONTENDERS: dict[str, tuple[Callable[[Float, int], Float], Callable[[int], Any]]] = {
    "quant": (_quant, _trees),
    "minirocket": (_minirocket, _ridge),
    "sorted-linear": (_sorted, _linear),
    "sorted-trees": (_sorted, _trees),
}


if __name__ == "__main__":
    main()
