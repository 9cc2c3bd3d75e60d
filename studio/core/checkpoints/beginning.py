"""Where a training takes its first weights from: a trained model's, in place of fresh ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from studio.core.checkpoints.header import NotACheckpoint
from studio.core.checkpoints.native import Model, load
from studio.core.checkpoints.places import locate
from studio.core.config import TrainConfig
from studio.core.denoisers import Denoiser, NetworkDenoiser, innermost
from studio.core.networks.layers import latent_parts
from studio.core.recipes.base import DataFacts

_ELSE = "Or leave start_from empty for fresh weights."


def take_weights(denoiser: Denoiser, config: TrainConfig, facts: DataFacts, device: torch.device) -> None:
    """Give ``denoiser``, fresh from ``config``'s recipe, the averaged weights of the model that ``config`` starts from.

    A network with a latent may start from one without: its z then hardly counts until training gives it a voice.
    Raises ValueError, in plain words, where the model does not fit or is none; OSError where it cannot be read.
    """
    word = config.run.start_from
    try:
        model = load(locate(word), device)
    except NotACheckpoint as error:
        raise ValueError(f"start_from = {word!r} is no model to start from: {error} {_ELSE}") from error
    found, wanted = innermost(model.denoiser), innermost(denoiser)
    if problem := _misfit(model, found, config, wanted, facts):
        raise ValueError(f"start_from = {word!r} does not fit: {problem} {_ELSE}")
    # What is missing is what a latent needs, and nothing else: all the rest was found to be alike.
    missing = wanted.network.load_state_dict(found.network.state_dict(), strict=False).missing_keys
    if missing:
        mappings, styles = latent_parts(wanted.network)
        for mapping in mappings:
            mapping.soften(config.recipe.latent_share)
        for style in styles:
            torch.nn.init.zeros_(style.weight)
            torch.nn.init.zeros_(style.bias)


def _misfit(
    model: Model, found: NetworkDenoiser, config: TrainConfig, wanted: NetworkDenoiser, facts: DataFacts
) -> str:
    """Why a model's weights are none for this training, and what to do; "" where they are."""
    title = model.header.title
    if model.shape != facts.shape:
        return f"{title} knows items of {_size(model.shape)}, these data are {_size(facts.shape)}. Choose other data."
    if model.num_classes != facts.num_classes:
        return f"{title} knows {model.num_classes} classes, these data have {facts.num_classes}. Choose other data."
    if different := _different(model.header.network, config.to_dict()["network"]):
        return f"the network of {title} has {different}. Choose the same network."
    if found.parameterization != wanted.parameterization or model.recipe.is_direct != config.recipe.is_direct:
        return f"the network of {title} was taught to predict something else. Choose a recipe that predicts the same."
    if model.recipe.latent_size not in (0, config.recipe.latent_size):
        return (
            f"{title} has a latent of {model.recipe.latent_size} numbers and this recipe one of "
            f"{config.recipe.latent_size}. Choose the same latent."
        )
    return ""


def _different(theirs: Mapping[str, object], ours: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} = {theirs.get(name)} where this one has {value}"
        for name, value in ours.items()
        if theirs.get(name) != value
    )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers"
