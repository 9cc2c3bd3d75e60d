"""Denoising Diffusion GAN: a generator with a latent z learns each of a few big denoising steps (arXiv 2112.07804).

Over a big step the true denoising distribution q(x_s | x_t) has many modes, and a Gaussian cannot follow it. Here a
generator guesses x0 from (x_t, z), the posterior q(x_s | x_t, x0) turns the guess into an x_s, and a discriminator that
sees (x_s, x_t) compares the result with real pairs (eq. 4 and 5):

    min_G max_D  sum_t E_q(x_t) [ E_q(x_s|x_t) log D(x_s, x_t, t) + E_p_G(x_s|x_t) log(1 - D(x_s, x_t, t)) ]

D and G move in turn: one step of D, with the gradient penalty R1 on real x_s now and then, and one step of G. Before
that a warm start may teach G the mean of x0, and an opening teach D alone, and G what to do with z. A share of each
batch may be rolled out: G's own steps lead from x_T to its x_t, as in sampling, and D judges what comes of it alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.core.data.base import Batch
from studio.core.denoisers import Denoiser, Direct, Latent, NetworkDenoiser
from studio.core.device import autocast
from studio.core.knobs import knob
from studio.core.levels import CLEAN, Level, diffuse, expand, log_snr, posterior
from studio.core.networks.base import Network, NetworkSpec, fresh_weights
from studio.core.networks.discriminator import Discriminator, discriminator
from studio.core.networks.layers import WHISPER, latent_parts
from studio.core.noise import Noise, Stream
from studio.core.optimizers import OptimizerSpec, adam, muon, set_rate
from studio.core.recipes.balance import Balance
from studio.core.recipes.base import DataFacts, Learner, Recipe, hide_labels
from studio.core.registry import register
from studio.core.schedules import BigSteps

Loss = Literal["non_saturating", "hinge", "wasserstein"]


@register("recipe", "adversarial")
@dataclass(frozen=True, kw_only=True)
class Adversarial(Recipe):
    """A generator and a discriminator of denoising steps, in turn."""

    title = "DDGAN"
    family = "DDGAN"
    num_steps: int = knob(4, help="Denoising steps; each is one evaluation.", label="Steps", symbol="T", low=1, high=16)
    beta_max: float = knob(
        20.0,
        help="Rate of noise at the end: 20 in the paper, for photographs. Less leaves more of a small picture standing "
        "at every step, so that each is easier.",
        label="Rate of noise",
        symbol="β_max",
        low=0.1,
        high=100.0,
    )
    prior: int = knob(
        0,
        help="Normal distributions in each class, fitted to the data, that x_T is drawn from; 0 for N(0, I). With them "
        "the rate of noise can be far lower, and so every step smaller.",
        label="Prior",
        symbol="K",
        low=0,
        high=64,
    )
    latent: int = knob(
        32, help="Numbers in the latent that varies a step; 0 is a generator without one.", symbol="z", low=0, high=1024
    )
    predict: Literal["x0", "x_s", "noise"] = knob(
        "x0", help="What the generator makes: x0, then noised by the posterior; the next x itself; or the noise in x."
    )
    process: Literal["denoising", "one_shot"] = knob(
        "denoising",
        help="Denoising steps, or images at once from noise, where the T levels only blur what the discriminator sees.",
    )
    loss: Loss = knob("non_saturating", help="What generator and discriminator play for.")
    r1: float = knob(
        0.05, help="Weight of the penalty on the discriminator's gradient at real x.", label="R1", symbol="γ", low=0.0
    )
    r1_every: int = knob(16, help="Steps from one penalty to the next.", label="R1 every", low=1, high=1000)
    d_width: int = knob(32, help="Channels of the discriminator's finest layer.", label="Width of D", low=8, high=512)
    group: int = knob(
        4,
        help="Items that the discriminator compares with each other (minibatch standard deviation); 1 for none.",
        label="Group",
        low=1,
        high=64,
    )
    d_rate: float = knob(
        5e-4, help="The discriminator's rate (Adam).", label="Rate of D", symbol="η_D", low=1e-7, high=0.1, log=True
    )
    d_muon_rate: float = knob(
        0.0,
        help="Muon's rate for the discriminator's hidden matrices, which it teaches sooner; 0 leaves them to Adam.",
        label="Muon's rate of D",
        low=0.0,
        high=1.0,
    )
    warm_start: int = knob(
        0,
        help="First steps that teach the generator the mean of x0, as a denoiser learns it; its rate falls to 0 over "
        "them. The game then starts from blurred pictures instead of from noise. Weights that start from a trained "
        "denoiser's need none.",
        label="Warm start",
        low=0,
        high=10_000_000,
    )
    opening: int = knob(
        0,
        help="Steps before the game in which D learns what to look for. The generator waits, but for z, which the "
        "energy score teaches it to use.",
        label="Opening",
        low=0,
        high=10_000_000,
    )
    opening_rate: float = knob(
        0.2,
        help="Rate of z's weights in the opening, as a share of the optimiser's; it falls to 0. The larger, the more "
        "z decides.",
        label="Rate in the opening",
        low=0.0,
        high=1.0,
    )
    game_rate: float = knob(
        1.0,
        help="The generator's rate in the game, as a share of the optimiser's: far below 1 where it starts from a "
        "denoiser's weights.",
        label="Rate in the game",
        low=0.0,
        high=1.0,
    )
    score_weight: float = knob(
        0.0,
        help="How much the energy score counts beside the game: it holds the generator to the data.",
        label="Energy score",
        symbol="λ",
        low=0.0,
        high=1000.0,
    )
    score_spread: float = knob(
        1.0,
        help="How far it drives two z apart: 1 as the data vary, less for likelier pictures, 0 to their middle.",
        label="Spread of z",
        low=0.0,
        high=1.0,
    )
    rollout: float = knob(
        0.0,
        help="Share of a batch (rounded down) whose x_t the generator makes itself, step by step from x_T, as in "
        "sampling. D judges their x_s alone, so G learns to make good what its own steps before have missed.",
        label="Rollouts",
        low=0.0,
        high=1.0,
    )
    label_dropout: float = knob(
        0.1, help="Share of labels hidden, so that one can sample without a class.", low=0.0, high=1.0
    )

    @property
    def schedule(self) -> BigSteps:
        return self.levels_of(1 if self.process == "one_shot" else self.num_steps)

    def levels_of(self, num_steps: int) -> BigSteps:
        """The forward process in so many steps."""
        return BigSteps(num_steps=num_steps, beta_max=self.beta_max)

    @property
    def latent_size(self) -> int:
        return self.latent

    @property
    def prior_components(self) -> int:
        return self.prior

    @property
    def own_steps(self) -> int:
        return self.schedule.length

    @property
    def is_direct(self) -> bool:
        return self.predict == "x_s"

    @property
    def warm_steps(self) -> int:
        return self.warm_start + self.opening

    @property
    def latent_share(self) -> float:
        return WHISPER if self.opens_z else SOFT_Z

    @property
    def opens_z(self) -> bool:
        """Whether z hardly counts until the opening gives it a voice."""
        return self.opening > 0 and self.latent > 0 and self.score_weight > 0.0

    def for_trained_weights(self) -> Adversarial:
        """No warm start, since the mean is known; but a discriminator is no part of a model and begins anew."""
        return replace(self, warm_start=0, opening=self.opening or OPENING)

    def spans(self, steps: int) -> list[tuple[int, int]]:
        ends = [0, self.warm_start, self.warm_steps, steps]
        return [(first, last - first) for first, last in itertools.pairwise(ends) if last > first]

    @property
    def chance(self) -> Mapping[str, float]:
        play, undecided = PLAYS[self.loss], torch.zeros(())
        return {
            "loss": float(play.generator(undecided)),
            "d_loss": float(play.real(undecided) + play.fake(undecided)),
        }

    def denoiser(self, network: NetworkSpec, data: DataFacts) -> Denoiser:
        return self._around(self._generator(network, data))

    def _around(self, generator: Latent) -> Denoiser:
        """The generator as samplers take it."""
        return Direct(generator, self._next_level) if self.is_direct else generator

    def _generator(self, network: NetworkSpec, data: DataFacts) -> Latent:
        module = network.build(data.shape, data.num_classes, self.latent)
        parameterization: Literal["eps", "edm"] = "eps" if self.predict == "noise" else "edm"
        return Latent(NetworkDenoiser(module, parameterization, data.mean, data.std), self.latent)

    def _next_level(self, level: Level) -> Level:
        """The level after one of this recipe's own."""
        schedule = self.schedule
        step = round(schedule.time(float(log_snr(level))) * schedule.length)
        return CLEAN if step <= 1 else schedule.level((step - 1) / schedule.length)

    def learner(
        self, network: NetworkSpec, optimizer: OptimizerSpec, data: DataFacts, *, seed: int, device: torch.device
    ) -> AdversarialLearner:
        if self.process == "one_shot" and self.warm_start:
            raise ValueError(
                f"warm_start = {self.warm_start:,} is not possible in one shot: from noise it could teach but one "
                "picture, the mean of all. Set it to 0."
            )
        if self.process == "one_shot" and self.prior:
            raise ValueError(
                f"prior = {self.prior} is not possible in one shot, which makes pictures of nothing but noise. Set it "
                "to 0."
            )
        if self.process == "one_shot" and self.rollout:
            raise ValueError(
                f"rollout = {self.rollout:g} is not possible in one shot, where no step comes before another. Set it "
                "to 0."
            )
        with fresh_weights(seed):
            generator = self._generator(network, data)
            judge = discriminator(data.shape, data.num_classes, self.d_width, self.group)
        generator.to(device)
        module = generator.inner.network
        assert isinstance(module, Network)
        if self.warm_steps:
            for mapping in latent_parts(module)[0]:
                mapping.soften(self.latent_share)
        return AdversarialLearner(self, self._around(generator), generator, judge.to(device), optimizer.build(module))


class Pairs(NamedTuple):
    """Steps, one an item: both ends, which step it is, the level of x_t, and what D sees beside an x_s.

    ``x_s`` is real. ``x_t`` is made from it, and D sees it too; or G made it, in a rollout, and D sees zeros in its
    place, as in one shot.
    """

    x_s: Tensor
    x_t: Tensor
    place: Tensor
    level: Level
    beside: Tensor

    def of(self, rows: Tensor) -> Pairs:
        """Some of them, by their rows in the batch."""
        level = Level(*(part[rows] for part in self.level))
        return Pairs(self.x_s[rows], self.x_t[rows], self.place[rows], level, self.beside[rows])


class Play(NamedTuple):
    """What the players minimise, a number an item: D's loss of real and of fake logits, and G's of fake ones."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


PLAYS: Mapping[str, Play] = {
    "non_saturating": Play(lambda d: functional.softplus(-d), functional.softplus, lambda d: functional.softplus(-d)),
    "hinge": Play(lambda d: functional.relu(1.0 - d), lambda d: functional.relu(1.0 + d), lambda d: -d),
    "wasserstein": Play(lambda d: -d, lambda d: d, lambda d: -d),
}


class AdversarialLearner(Learner):
    """The generator inside a denoiser, its discriminator, and their turns."""

    def __init__(
        self,
        recipe: Adversarial,
        denoiser: Denoiser,
        generator: Latent,
        judge: Discriminator,
        optimizers: list[torch.optim.Optimizer],
    ) -> None:
        self.recipe = recipe
        self.denoiser = denoiser
        self.companion = judge
        self._generator_optimizers = optimizers
        self._judge_optimizers = _optimizers_of(judge, recipe)
        self.optimizers = [*optimizers, *self._judge_optimizers]
        self._generator, self._judge = generator, judge
        mappings, styles = latent_parts(generator)
        self._voice = [weight for part in (*mappings, *styles) for weight in part.parameters()]
        self._play = PLAYS[recipe.loss]
        # A generator of images at once makes those: after its one step comes clean data.
        self._makes_x_s = recipe.predict == "x_s" and recipe.process == "denoising"
        self._balance = Balance(recipe.latent > 0)
        self._tables = Tables(recipe.levels_of(recipe.num_steps), next(judge.parameters()).device)

    def set_rates(self, factor: float, index: int) -> None:
        """The generator's falls to 0 over a warm start and again over an opening, and is a share in the game."""
        recipe = self.recipe
        if index < recipe.warm_start:
            share = 1.0 - index / recipe.warm_start
        elif index < recipe.warm_steps:
            share = recipe.opening_rate * (1.0 - (index - recipe.warm_start) / recipe.opening)
        else:
            share = recipe.game_rate
        set_rate(self._generator_optimizers, factor * share)
        set_rate(self._judge_optimizers, factor)

    def step(self, batch: Batch, *, noise: Noise, index: int) -> dict[str, Tensor]:
        labels = hide_labels(batch.labels, self.recipe.label_dropout, noise, index)
        # Two draws a step: the generator's turn has x_t, z and noise of its own.
        if index < self.recipe.warm_start:
            return self._warm_turn(batch.x0, labels, noise, 2 * index + 1)
        found = self._judge_turn(batch.x0, labels, noise, 2 * index, penalized=index % self.recipe.r1_every == 0)
        if index >= self.recipe.warm_steps:
            return found | self._generator_turn(batch.x0, labels, noise, 2 * index + 1)
        if self.recipe.opens_z:
            return found | self._opening_turn(batch.x0, labels, noise, 2 * index + 1)
        return found

    def _judge_turn(
        self, x0: Tensor, labels: Tensor | None, noise: Noise, draw: int, *, penalized: bool
    ) -> dict[str, Tensor]:
        """One step of D on as many real steps as made-up ones; ``loss`` is what G loses if it stays as it is."""
        pairs = self._played(self._generator, x0, labels, noise, draw)
        with torch.no_grad():
            fake = self._fake(self._generator, pairs, labels, noise, draw)[0]
        real = pairs.x_s.requires_grad_(penalized)
        real_logits, fake_logits = self._judged(real, pairs, labels), self._judged(fake, pairs, labels)
        sample_loss = self._play.real(real_logits) + self._play.fake(fake_logits)
        loss = sample_loss.mean()
        found = {}
        if penalized and self.recipe.r1 > 0.0:
            penalty = gradient_penalty(real_logits, real)
            loss = loss + 0.5 * self.recipe.r1 * penalty
            found["r1"] = penalty.detach()
        for optimizer in self._judge_optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        found["d_grad_norm"] = _gradient_norm(self._judge)
        for optimizer in self._judge_optimizers:
            optimizer.step()
        real_logits, fake_logits = real_logits.detach(), fake_logits.detach()
        if self.recipe.loss != "wasserstein":  # a critic's logits have no zero that divides real from made up
            found["d_right"] = 0.5 * ((real_logits > 0.0).float().mean() + (fake_logits < 0.0).float().mean())
        return found | {
            "loss": self._play.generator(fake_logits).mean(),
            "d_loss": sample_loss.detach().mean(),
            "real_logit": real_logits.mean(),
            "fake_logit": fake_logits.mean(),
            "sample_loss": sample_loss.detach(),
            "log_snr": self._tables.log_snr[pairs.place],
        }

    def _generator_turn(self, x0: Tensor, labels: Tensor | None, noise: Noise, draw: int) -> dict[str, Tensor]:
        """One step of G, against D as it is now."""
        pairs = self._played(self._generator, x0, labels, noise, draw)
        self._judge.requires_grad_(False)
        fake, made = self._fake(self._generator, pairs, labels, noise, draw)
        loss = self._play.generator(self._judged(fake, pairs, labels)).mean()
        found = {"loss": loss.detach()}
        truthful = self._rows(len(x0), rolled_out=False)
        if self.recipe.score_weight > 0.0 and len(truthful):
            known = None if labels is None else labels[truthful]
            true_pairs, own = pairs.of(truthful), noise.of(truthful)
            score = self._energy_score(made[truthful], x0[truthful], true_pairs, known, own, draw).mean()
            loss = loss + self.recipe.score_weight * score
            found["energy_score"] = score.detach()
        found["grad_norm"] = self._move_generator(loss)
        self._judge.requires_grad_(True)
        found["diversity"] = _spread(made.detach()) / _spread(self._wanted(x0, pairs))
        if self.recipe.latent and draw // 2 % SPREAD_EVERY == 0:
            found["z_spread"] = self._z_spread(made.detach(), pairs, labels, noise, draw)
        return found

    @torch.no_grad()
    def _z_spread(self, made: Tensor, pairs: Pairs, labels: Tensor | None, noise: Noise, draw: int) -> Tensor:
        """How far two z at the same x_t lie apart in what G makes of them, root mean square over the data's spread."""
        z = self._z(noise, draw, Stream.OTHER_LATENT)
        other = self._make(self._generator, pairs.x_t, pairs.level, labels, z)
        return (other - made).square().mean().sqrt() / self._generator.inner.data_std

    def _pairs(self, x0: Tensor, noise: Noise, draw: int) -> Pairs:
        """Real (x_s, x_t), x_t made from x_s: every step has its equal share of the batch."""
        tables = self._tables
        place = _evenly(noise, draw, self.recipe.num_steps)
        alpha, sigma = expand(tables.alpha[place], x0), expand(tables.sigma[place], x0)
        x_s = alpha * x0 + sigma * noise.like(x0, draw, Stream.EPS)
        jump = noise.like(x0, draw, Stream.JUMP)
        if self.recipe.process == "one_shot":
            # D sees x_s alone; the generator starts from noise, at the one level of its schedule.
            level = Level(*(x0.new_full((len(x0),), part) for part in self.recipe.schedule.level(1.0)))
            return Pairs(x_s, jump, place, level, torch.zeros_like(x_s))
        x_t = expand(tables.kept[place], x0) * x_s + expand(tables.added[place], x0) * jump
        return Pairs(x_s, x_t, place, tables.level_of(place), x_t)

    def _played(self, generator: Latent, x0: Tensor, labels: Tensor | None, noise: Noise, draw: int) -> Pairs:
        """What the game is about: pairs, and the share of rollouts among them."""
        return self._rolled_out(generator, self._pairs(x0, noise, draw), labels, noise, draw)

    def _rows(self, count: int, *, rolled_out: bool) -> Tensor:
        """Which of ``count`` items are rolled out, the share rounded down and evenly spread; or which are not."""
        sums = (torch.arange(count + 1) * self.recipe.rollout).floor()
        return ((sums.diff() > 0.0) == rolled_out).nonzero().flatten()

    @torch.no_grad()
    def _rolled_out(self, generator: Latent, pairs: Pairs, labels: Tensor | None, noise: Noise, draw: int) -> Pairs:
        """The pairs with the rollouts among them: the generator's own steps lead from x_T to their x_t.

        No real x_s belongs to such an x_t, so D judges what the generator makes of it by itself: that it is distributed
        as x_s are, whatever the steps before have missed (marginals, in place of pairs; cf. arXiv 2306.12511).
        """
        count, steps = len(pairs.place), self.recipe.num_steps
        rows = self._rows(count, rolled_out=True)
        if not len(rows):
            return pairs
        own, place, hidden = noise.of(rows), pairs.place[rows], None if labels is None else labels[rows]
        x = self._x_end(own, pairs.x_t.shape[1:], hidden, draw)
        for step in range(steps - 1, 0, -1):
            # Items lie in the order of their steps: those after the first few do not have this one before theirs.
            first = slice(0, int((rows < step * count / steps).sum()))
            if not first.stop:
                break
            some, here = own.of(torch.arange(first.stop)), torch.full_like(place[first], step)
            level, labelled = self._tables.level_of(here), None if hidden is None else hidden[first]
            z = self._z(some, draw * steps + step, Stream.ROLLOUT_LATENT)
            made = self._make(generator, x[first], level, labelled, z)
            fresh = some.like(made, draw * steps + step, Stream.ROLLOUT)
            reached = self._x_s(made, x[first], here, fresh)
            x[first] = torch.where(expand(place[first], x) < step, reached, x[first])
        x_t, beside = pairs.x_t.clone(), pairs.beside.clone()
        x_t[rows], beside[rows] = x, 0.0
        return pairs._replace(x_t=x_t, beside=beside)

    def _x_end(self, noise: Noise, shape: Sequence[int], labels: Tensor | None, draw: int) -> Tensor:
        """x_T as sampling begins with it."""
        if self.prior is None:
            return noise.normal(shape, draw, Stream.START)
        return self.prior.draw(noise, shape, self.recipe.schedule.level(1.0), labels, draw)

    def _fake(
        self, generator: Latent, pairs: Pairs, labels: Tensor | None, noise: Noise, draw: int
    ) -> tuple[Tensor, Tensor]:
        """x_s as the generator has it, and what it made to that end: x0, or x_s itself. Both (B, ...)."""
        tables, place = self._tables, pairs.place
        made = self._make(generator, pairs.x_t, pairs.level, labels, self._z(noise, draw))
        fresh = noise.like(made, draw, Stream.STEP)
        if self.recipe.process == "one_shot":
            return expand(tables.alpha[place], made) * made + expand(tables.sigma[place], made) * fresh, made
        return self._x_s(made, pairs.x_t, place, fresh), made

    def _x_s(self, made: Tensor, x_t: Tensor, place: Tensor, fresh: Tensor) -> Tensor:
        """Where a step leads: to what the generator made at x_t, or by the posterior q(x_s | x_t, x0) towards it."""
        if self._makes_x_s:
            return made
        tables = self._tables
        mean = expand(tables.of_x[place], made) * x_t + expand(tables.of_x0[place], made) * made
        return mean + expand(tables.std[place], made) * fresh

    def _z(self, noise: Noise, draw: int, stream: Stream = Stream.LATENT) -> Tensor | None:
        return noise.normal((self.recipe.latent,), draw, stream) if self.recipe.latent else None

    def _make(self, generator: Latent, x_t: Tensor, level: Level, labels: Tensor | None, z: Tensor | None) -> Tensor:
        """What the generator makes of x_t and z, (B, ...) float32."""
        with autocast(x_t.device):
            return generator.inner.believe(x_t, level, labels, z).float()

    def _wanted(self, x0: Tensor, pairs: Pairs) -> Tensor:
        """The truth that belongs to what the generator makes."""
        return pairs.x_s if self._makes_x_s else x0

    def _judged(self, x_s: Tensor, pairs: Pairs, labels: Tensor | None) -> Tensor:
        """D's logits, (B,)."""
        with autocast(x_s.device):
            return self._judge(x_s, pairs.beside, self._tables.log_snr[pairs.place], labels).float()

    def _warm_turn(self, x0: Tensor, labels: Tensor | None, noise: Noise, draw: int) -> dict[str, Tensor]:
        """One step of G towards the mean of what it is to make, weighted as EDM does (arXiv 2206.00364, eq. 8).

        No z can help with that, so there is none: else the generator would learn not to listen to it.
        """
        if self._makes_x_s:
            pairs = self._pairs(x0, noise, draw)
            x_t, level, wanted = pairs.x_t, pairs.level, pairs.x_s
        else:
            place = _evenly(noise, draw, BETWEEN)
            level = Level(*(part[place] for part in self._tables.between))
            x_t, wanted = diffuse(x0, level, noise.like(x0, draw, Stream.EPS)), x0
        with autocast(x0.device):
            made = self._generator.inner.believe(x_t, level, labels).float()
        sample_loss = self._per_c_out(level).square() * (made - wanted).square().flatten(1).mean(1)
        loss = sample_loss.mean()
        norm = self._move_generator(loss, most=1.0)
        found = {"sample_loss": sample_loss.detach(), "log_snr": log_snr(level)}
        return {"loss": loss.detach(), "grad_norm": norm} | found

    def _opening_turn(self, x0: Tensor, labels: Tensor | None, noise: Noise, draw: int) -> dict[str, Tensor]:
        """One step of z's own weights by the energy score: G learns to listen to z before it plays, or it never will.

        All other weights stay, so that the pictures do. The items' losses are the score's, in place of D's, which are
        told by level in the game alone.
        """
        pairs = self._pairs(x0, noise, draw)
        made = self._make(self._generator, pairs.x_t, pairs.level, labels, self._z(noise, draw))
        sample_loss = self._energy_score(made, x0, pairs, labels, noise, draw)
        loss = sample_loss.mean()
        norm = self._move_generator(loss, self._voice)
        found = {"sample_loss": sample_loss.detach(), "log_snr": self._tables.log_snr[pairs.place]}
        return {"loss": loss.detach(), "energy_score": loss.detach(), "grad_norm": norm} | found

    def _move_generator(
        self, loss: Tensor, weights: list[nn.Parameter] | None = None, *, most: float = float("inf")
    ) -> Tensor:
        """One step of G, or of these of its weights, down ``loss``, the gradient cut to a norm of ``most``.

        Returns the norm before that.
        """
        for optimizer in self._generator_optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=weights)
        norm = torch.nn.utils.clip_grad_norm_(self._generator.parameters(), most)
        for optimizer in self._generator_optimizers:
            optimizer.step()
        return norm

    def _energy_score(
        self, made: Tensor, x0: Tensor, pairs: Pairs, labels: Tensor | None, noise: Noise, draw: int
    ) -> Tensor:
        """(B,): how far what G makes lies from the truth, less half of how far two z lie apart, in units of c_out.

        With the whole spread the score is proper: it is lowest where G(x_t, z) is distributed as the truth given x_t
        (Gneiting and Raftery, "Strictly proper scoring rules", 2007, eq. 22; for diffusion, arXiv 2502.02483).
        """
        wanted, weight = self._wanted(x0, pairs), self._per_c_out(pairs.level)
        if not self.recipe.latent:
            return weight * _distance(made, wanted)
        z = self._z(noise, draw, Stream.OTHER_LATENT)
        other = self._make(self._generator, pairs.x_t, pairs.level, labels, z)
        to_truth = 0.5 * (_distance(made, wanted) + _distance(other, wanted))
        return weight * (to_truth - 0.5 * self.recipe.score_spread * _distance(made, other))

    def _per_c_out(self, level: Level) -> Tensor:
        """(B,): 1 / c_out of EDM, in the VP frame."""
        alpha, sigma = level
        return torch.sqrt((alpha / sigma) ** 2 + self._generator.inner.data_std**-2)

    @torch.no_grad()
    def loss(
        self, denoiser: Denoiser, batch: Batch, *, noise: Noise, index: int, level: Level | None = None
    ) -> Mapping[str, Tensor]:
        """What the generator in ``denoiser`` loses on a batch, and D's logits of it: D has not seen these images."""
        generator = denoiser.inner if isinstance(denoiser, Direct) else denoiser
        assert isinstance(generator, Latent)
        pairs = self._played(generator, batch.x0, batch.labels, noise, index)
        fake = self._judged(self._fake(generator, pairs, batch.labels, noise, index)[0], pairs, batch.labels)
        real = self._judged(pairs.x_s, pairs, batch.labels)
        return {"loss": self._play.generator(fake).mean(), "real_logit": real.mean(), "fake_logit": fake.mean()}

    def complaint(self, step: int, scalars: Mapping[str, float]) -> str | None:
        # Before the game D has nobody to play against.
        return None if step <= self.recipe.warm_steps else self._balance.complaint(step, scalars)


OPENING = 240
"""Steps that a new discriminator takes to learn what to look for."""
SOFT_Z = 0.2
"""How much an untaught z counts where no energy score opens it: more would tear the pictures apart."""
BETWEEN = 1000
"""How many levels, between the steps and at them, a warm start knows."""
SPREAD_EVERY = 16
"""Steps of training from one look at how far two z lie apart to the next."""
PATCHES = (4, 8)
"""Sides in pixels of the patches that the energy score looks at, beside the whole image."""


class Tables:
    """The numbers of T big steps, on the device: of step i, from s = i to t = i + 1, each (T,); levels (T + 1,).

    ``between`` are the levels of a warm start, (BETWEEN,): evenly in time from the middle of the last step to the noise
    that sampling starts from.
    """

    def __init__(self, schedule: BigSteps, device: torch.device) -> None:
        levels = [CLEAN, *(schedule.level((step + 1) / schedule.length) for step in range(schedule.length))]
        steps = [posterior(t, s) for s, t in itertools.pairwise(levels)]
        betas = schedule.betas()

        def column(values: object) -> Tensor:
            return torch.tensor(np.array(values, np.float64), dtype=torch.float32, device=device)

        self.alpha, self.sigma = column([level.alpha for level in levels]), column([level.sigma for level in levels])
        self.log_snr = column([log_snr(level) for level in levels[1:]])
        self.kept, self.added = column(np.sqrt(1.0 - betas)), column(np.sqrt(betas))
        self.of_x, self.of_x0 = column([step.of_x for step in steps]), column([step.of_x0 for step in steps])
        self.std = column([step.var**0.5 for step in steps])
        times = np.linspace(0.5 / schedule.length, 1.0, BETWEEN).tolist()
        self.between = Level(*(column(part) for part in zip(*map(schedule.flow, times), strict=True)))

    def level_of(self, place: Tensor) -> Level:
        """The level of x_t of steps (B,)."""
        return Level(self.alpha[place + 1], self.sigma[place + 1])


def _evenly(noise: Noise, draw: int, count: int) -> Tensor:
    """(B,) places from 0 to ``count`` - 1, drawn so that each has its equal share of the batch."""
    uniform = noise.uniform(draw, Stream.LEVEL)
    share = (torch.arange(len(uniform), device=uniform.device) + uniform) / len(uniform)
    return (share * count).long().clamp(max=count - 1)


def gradient_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """R1: the mean over items of |d logit / d x|**2, scalar, differentiable (arXiv 1801.04406, eq. 9, without gamma/2).

    ``x`` (B, ...) must be what ``logits`` (B,) were computed from, item by item.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """(B,): root mean square differences of items; of images, the mean of those of the whole and of its patches.

    Each patch gives a proper score of its own. A whole image has too many pixels for its length alone to teach much.
    """
    square = (a - b).square()
    scales = [square.flatten(1).mean(1, keepdim=True)]
    if square.ndim == 4:
        pixels = square.mean(1, keepdim=True)
        scales += [functional.avg_pool2d(pixels, side, ceil_mode=True).flatten(1) for side in PATCHES]
    # The square root has no slope at 0, where two z make the same.
    return torch.stack([(scale + 1e-12).sqrt().mean(1) for scale in scales]).mean(0)


def _optimizers_of(judge: Discriminator, recipe: Adversarial) -> list[torch.optim.Optimizer]:
    """Adam as GANs have it, and Muon for the hidden matrices where that has a rate."""
    if not recipe.d_muon_rate:
        return [adam(judge.parameters(), recipe.d_rate, beta1=0.5, beta2=0.9)]
    first, rest = muon(judge, judge.hidden_matrices(), recipe.d_muon_rate, 0.9)
    return [first, adam(rest, recipe.d_rate, beta1=0.5, beta2=0.9)]


def _gradient_norm(module: nn.Module) -> Tensor:
    return torch.nn.utils.get_total_norm([weight.grad for weight in module.parameters() if weight.grad is not None])


def _spread(x: Tensor) -> Tensor:
    """How much items differ: the standard deviation over the batch, root mean square over places."""
    return x.float().var(0).mean().sqrt()
