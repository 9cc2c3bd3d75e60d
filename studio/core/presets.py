"""Presets: named starting points for a training, from seconds on points to an hour on digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from studio.core.checkpoints.header import Header
from studio.core.config import PARTS, RunKnobs, TrainConfig
from studio.core.data.base import DatasetSpec
from studio.core.data.images import MNIST, FashionMNIST
from studio.core.data.points import Gaussians8, Gaussians25, Mixture1D, SwissRoll, TwoMoons
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.base import Recipe
from studio.core.recipes.denoising import Denoising

DEFAULT = "digits"


def presets() -> dict[str, TrainConfig]:
    """Every preset by name, the default first."""
    return {
        DEFAULT: TrainConfig(title="Digits"),
        "digits-large": TrainConfig(title="Digits, large", network=UNetSpec(width=48), run=RunKnobs(steps=16000)),
        "digits-ddpm": TrainConfig(
            title="Digits, plain DDPM",
            recipe=Denoising(parameterization="eps", level_choice="schedule"),
            optimizer=AdamSpec(),
            run=RunKnobs(steps=10000),
        ),
        "fashion": TrainConfig(title="Fashion", data=FashionMNIST(), run=RunKnobs(steps=4000)),
        "swiss-roll": _points("Swiss roll", SwissRoll()),
        "two-moons": _points("Two moons", TwoMoons()),
        "gaussians": _points("Eight Gaussians", Gaussians8()),
        "mixture-1d": _points("Mixture on a line", Mixture1D()),
        "digits-gan-prior": _digits_gan(
            "Digits, DDGAN", beta_max=1.5, prior=16, rollout=0.75, opening_rate=0.2, score_spread=1.0
        ),
        "digits-gan": _digits_gan("Digits, DDGAN from noise", beta_max=7.0, opening_rate=0.08),
        "fashion-gan": TrainConfig(
            title="Fashion, DDGAN",
            data=FashionMNIST(),
            recipe=_game_of_images(
                beta_max=0.7,
                prior=32,
                rollout=0.5,
                game_rate=0.1,
                opening=450,
                opening_rate=0.25,
                score_weight=1.0,
                d_rate=1e-3,
                d_muon_rate=0.01,
            ),
            run=RunKnobs(steps=850, ema_decay=0.99, start_from="fashion-ddpm"),
        ),
        "gaussians-gan": _points_gan("25 Gaussians, DDGAN", Gaussians25()),
        "mixture-1d-gan": _points_gan("Mixture on a line, DDGAN", Mixture1D()),
    }


def preset_for(data: DatasetSpec) -> TrainConfig:
    """A starting point for any data set, under its name: its own preset, or the first for data of its kind.

    Models of a few big steps are a choice of their own, and not one that comes with data.
    """
    known = [preset for preset in presets().values() if preset.recipe.own_steps is None]
    own = (preset for preset in known if type(preset.data) is type(data))
    like = next(own, None) or next(preset for preset in known if preset.data.kind == data.kind)
    return replace(like, title=data.title, data=data)


def trained_on(header: Header, word: str) -> TrainConfig:
    """A training like the one that made a checkpoint, from its weights; ``word`` is its path, or name where it ships.

    Raises ValueError where a method is unknown.
    """
    tables = {part: getattr(header, part) for part in PARTS}
    run = {**header.run, "start_from": word, "device": "auto"}
    before = TrainConfig.from_dict({"title": header.title, "run": run, **tables})
    recipe = before.recipe.for_trained_weights()
    steps = before.run.steps - before.recipe.warm_steps + recipe.warm_steps
    return replace(before, recipe=recipe, run=replace(before.run, steps=steps))


def ddgan_of(header: Header, word: str) -> TrainConfig:
    """A DDGAN that starts from a denoiser's weights: the preset of its data, or else that of digits from noise.

    ``word`` and errors as :func:`trained_on`.
    """
    before = trained_on(header, word)
    known = presets()
    like = known[{MNIST: "digits-gan-prior", FashionMNIST: "fashion-gan"}.get(type(before.data), "digits-gan")]
    run = replace(like.run, start_from=word)
    return replace(like, title=f"{before.title}, DDGAN", data=before.data, network=before.network, run=run)


def start_for(recipe: Recipe, data: DatasetSpec) -> str:
    """The model that a preset of such a recipe and such data starts from; "" where it takes fresh weights."""
    starts = [preset.run.start_from for preset in presets().values() if _alike(preset, recipe, data)]
    return next(filter(None, starts), "")


def _alike(preset: TrainConfig, recipe: Recipe, data: DatasetSpec) -> bool:
    return type(preset.recipe) is type(recipe) and type(preset.data) is type(data)


def _digits_gan(title: str, **knobs: Any) -> TrainConfig:
    recipe = _game_of_images(opening=240, score_weight=3.0, d_rate=2e-3, d_muon_rate=0.02, **knobs)
    return TrainConfig(title=title, recipe=recipe, run=RunKnobs(steps=420, ema_decay=0.99, start_from="mnist-ddpm"))


def _game_of_images(**knobs: Any) -> Adversarial:
    """A short game that starts from a denoiser's weights, and is held to the data by the energy score."""
    common: dict[str, Any] = {"group": 1, "r1": 0.5, "r1_every": 8, "game_rate": 0.05, "score_spread": 0.7}
    return Adversarial(**common | knobs)


def _points_gan(title: str, data: DatasetSpec) -> TrainConfig:
    return TrainConfig(
        title=title,
        data=data,
        recipe=Adversarial(latent=8, d_width=128),
        network=MLPSpec(),
        optimizer=AdamSpec(learning_rate=5e-4, beta1=0.5),
        run=RunKnobs(steps=1500, batch=512, preview_every=2.0),
    )


def _points(title: str, data: DatasetSpec) -> TrainConfig:
    return TrainConfig(
        title=title,
        data=data,
        # Thin curves are decided at low noise: the levels lie lower and wider than for images.
        recipe=Denoising(level_mean=-1.2, level_std=1.6),
        network=MLPSpec(),
        optimizer=AdamSpec(learning_rate=2e-3),
        run=RunKnobs(steps=1500, batch=512, preview_every=2.0),
    )
