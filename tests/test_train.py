"""Training: learns, is the same twice, survives a kill without a trace, and says what is wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from greenup.augment import augment
from greenup.epochs import Run
from greenup.presets import config_for
from greenup.recipe import ModelSpec, TrainSpec
from greenup.train import TrainResult, predict, train
from greenup_runtime.errors import DataFault, GreenupError

CONFIG = config_for(ModelSpec(layers=1, heads=2, d_model=16, d_ff=16, patch=8), 1, 48, 3, "zscore")
EVERY_CHANGE = ("crop", "roll", "scale", "mask", "jitter")
SPEC = TrainSpec(epochs=4, batch=16, threads=1, learning_rate=3e-3)
AVERAGED = SPEC.model_copy(update={"average": 0.9, "choose": "last"})


@dataclass(frozen=True)
class Windows:
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]


def windows(cases: int, seed: int) -> Windows:
    """Sines, squares and ramps with noise, of random amplitude."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 4 * np.pi, 48)
    shapes = np.stack([np.sin(at), np.sign(np.sin(at)), (at % np.pi) - 1.5])
    y = np.arange(cases) % 3
    x = (shapes[y] + 0.2 * rng.normal(size=(cases, 48))) * rng.uniform(0.5, 5, (cases, 1))
    return Windows(x[:, None].astype(np.float32), y.astype(np.int64))


TRAIN, VALIDATION = windows(48, 0), windows(24, 1)


def run(folder: Path, spec: TrainSpec = SPEC, seed: int = 0, **options: object) -> TrainResult:
    return train(CONFIG, spec, TRAIN, VALIDATION, seed=seed, folder=folder, **options)  # type: ignore[arg-type]


def same(one: TrainResult, other: TrainResult) -> bool:
    return one.best_epoch == other.best_epoch and all(
        torch.equal(value, other.state[name]) for name, value in one.state.items()
    )


def test_it_learns(tmp_path: Path) -> None:
    result = run(tmp_path, SPEC.model_copy(update={"epochs": 25}))
    unseen = windows(60, 2)
    assert (predict(CONFIG, result.state, unseen.x).argmax(axis=1) == unseen.y).mean() > 0.9


def test_predictions_are_probabilities_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    result = run(tmp_path)
    whole, parts = (predict(CONFIG, result.state, VALIDATION.x, batch) for batch in (256, 5))
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    assert (whole.argmax(axis=1) == VALIDATION.y).mean() == pytest.approx(result.validation_accuracy)


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    torch.rand(7)  # whatever the caller drew in between
    assert same(first, run(tmp_path / "b"))
    assert not same(first, run(tmp_path / "c", seed=1))


def test_the_callers_random_numbers_and_settings_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    run(tmp_path)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("dies_after", [1, 3])
@pytest.mark.parametrize("spec", [SPEC, AVERAGED])
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, dies_after: int, spec: TrainSpec) -> None:
    def interrupt(done: int, total: int, message: str) -> None:
        if done == dies_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", spec, progress=interrupt)
    seen: list[int] = []
    resumed = run(tmp_path / "a", spec, progress=lambda done, total, message: seen.append(done))
    assert min(seen) == min(dies_after + 1, SPEC.epochs)
    assert same(resumed, run(tmp_path / "b", spec))
    assert resumed.notes == ()


def test_a_killed_process_is_resumed_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL in the middle of the third epoch of another process."""
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_train
        step = test_train.Run._step
        def dying(self, x, y):
            if self.done == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, x, y)
        test_train.Run._step = dying
        test_train.run(Path({str(tmp_path / "a")!r}))
    """)
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "a" / "checkpoint.pt").is_file()
    assert same(run(tmp_path / "a"), run(tmp_path / "b"))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_starts_over_and_says_so(tmp_path: Path, damage: str) -> None:
    run(tmp_path / "a")
    path = tmp_path / "a" / "checkpoint.pt"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes({"cut": bytes(whole[:-9]), "flip": bytes(whole), "empty": b""}[damage])
    messages: list[str] = []
    again = run(tmp_path / "a", progress=lambda done, total, message: messages.append(message))
    assert "damaged" in again.notes[0]
    assert "damaged" in messages[0]
    assert same(again, run(tmp_path / "b"))


def test_a_checkpoint_of_another_run_is_not_taken_up(tmp_path: Path) -> None:
    run(tmp_path / "a", seed=3)
    result = run(tmp_path / "a")
    assert "another run" in result.notes[0]
    assert same(result, run(tmp_path / "b"))


def test_fine_tuning_starts_from_the_given_weights_and_never_gets_worse(tmp_path: Path) -> None:
    first = run(tmp_path / "a", SPEC.model_copy(update={"epochs": 10}))
    still = run(
        tmp_path / "b", SPEC.model_copy(update={"epochs": 1, "learning_rate": 1e-12}), initial_state=first.state
    )
    assert still.history[0].validation_accuracy == first.validation_accuracy
    ruinous = SPEC.model_copy(update={"epochs": 2, "learning_rate": 0.5})
    tuned = run(tmp_path / "c", ruinous, initial_state=first.state)
    assert tuned.validation_accuracy >= first.validation_accuracy


def test_no_epochs_give_back_the_initial_weights(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    none = run(tmp_path / "b", SPEC.model_copy(update={"epochs": 0}), initial_state=first.state)
    assert none.best_epoch == 0
    assert all(torch.equal(value, none.state[name]) for name, value in first.state.items())


def test_it_stops_when_nothing_gets_better(tmp_path: Path) -> None:
    result = run(tmp_path, SPEC.model_copy(update={"epochs": 50, "patience": 2, "learning_rate": 1.0}))
    assert len(result.history) - 1 == result.best_epoch + 2 < 50


def test_the_best_epoch_is_the_one_with_the_highest_accuracy_then_the_lowest_loss(tmp_path: Path) -> None:
    result = run(tmp_path, SPEC.model_copy(update={"epochs": 12}))
    ranked = max(result.history, key=lambda line: (line.validation_accuracy, -line.validation_loss))
    assert result.best_epoch == ranked.epoch
    assert result.validation_accuracy == ranked.validation_accuracy


def test_the_last_epoch_is_taken_where_the_recipe_says_so(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"epochs": 6, "patience": 1, "choose": "last"})
    result = run(tmp_path, spec)
    assert result.best_epoch == len(result.history) - 1 == 6
    assert result.validation_accuracy == result.history[-1].validation_accuracy


def test_averaged_weights_are_other_weights_and_learn(tmp_path: Path) -> None:
    plain = run(tmp_path / "a", AVERAGED.model_copy(update={"average": 0.0}))
    averaged = run(tmp_path / "b", AVERAGED)
    assert not same(plain, averaged)
    longer = run(tmp_path / "c", AVERAGED.model_copy(update={"epochs": 25}))
    assert longer.validation_accuracy > 0.9


def test_no_batch_of_one_is_left_over(tmp_path: Path) -> None:
    odd = Windows(TRAIN.x[:17], TRAIN.y[:17])
    spec = SPEC.model_copy(update={"epochs": 1})
    assert np.isfinite(train(CONFIG, spec, odd, VALIDATION, seed=0, folder=tmp_path).history[1].train_loss)


def test_rare_classes_weigh_more_in_the_loss(tmp_path: Path) -> None:
    rows = np.flatnonzero((TRAIN.y != 2) | (np.arange(len(TRAIN.y)) < 9))
    skewed = Windows(TRAIN.x[rows], TRAIN.y[rows])
    weights = Run(CONFIG, SPEC, skewed, VALIDATION, 0, None).class_weights
    assert weights is not None
    counts = np.bincount(skewed.y)
    np.testing.assert_allclose(weights.numpy() * counts, (weights.numpy() * counts)[0], rtol=1e-5)
    assert (
        Run(CONFIG, SPEC.model_copy(update={"balance": "none"}), skewed, VALIDATION, 0, None).class_weights is None
    )


def test_augmented_windows_keep_shape_and_size_and_differ() -> None:
    x = torch.randn(64, 2, 40) * 1e-4 + 300
    changed = augment(x, torch.Generator().manual_seed(0), EVERY_CHANGE)
    assert changed.shape == x.shape
    assert torch.isfinite(changed).all()
    assert 0.3 < (changed != x).flatten(1).any(dim=1).float().mean() <= 1
    assert torch.equal(changed, augment(x, torch.Generator().manual_seed(0), EVERY_CHANGE))
    assert augment(torch.randn(4, 1, 2), torch.Generator(), EVERY_CHANGE).shape == (4, 1, 2)


def test_only_the_named_changes_are_made() -> None:
    x = torch.randn(32, 2, 40)
    rolled = augment(x, torch.Generator().manual_seed(0), ["roll"])
    assert not torch.equal(rolled, x)
    torch.testing.assert_close(rolled.sort(dim=-1).values, x.sort(dim=-1).values)
    assert augment(x, torch.Generator(), ()) is x


def test_a_loss_that_is_no_number_is_explained(tmp_path: Path) -> None:
    broken = Windows(np.where(TRAIN.x > 2, np.float32(np.nan), TRAIN.x), TRAIN.y)
    with pytest.raises(GreenupError, match="diverged in epoch 1"):
        train(CONFIG, SPEC, broken, VALIDATION, seed=0, folder=tmp_path)


def test_an_empty_split_is_a_fault_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataFault, match="validation split has no cases"):
        train(CONFIG, SPEC, TRAIN, Windows(TRAIN.x[:0], TRAIN.y[:0]), seed=0, folder=tmp_path)
