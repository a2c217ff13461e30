"""Several choices at once, independent of each other: MultiDiscrete, and MultiBinary, whose choices are of two.

The distance of products is the sum of the parts' distances, for KL and for squared Wasserstein distances alike (of actions
that are apart by the sum of their parts' distances), so that their metric is block diagonal with the blocks of `categorical`.
A switch is a choice of two whose first logit is held at 0; the metric of its one logit is pulled back along that.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from baselines_compat.actor import BernoulliHead, MultiCategoricalHead
from baselines_compat.conform import size_of
from wng_tf.policies.geometry import Geometry
from wng_tf.policies.heads import categorical
from wng_tf.policies.heads.base import StochasticHead
from wng_tf.policies.lazy import Lazy

if TYPE_CHECKING:
    import tensorflow as tf

    from baselines_compat import distributions

else:
    tf = Lazy("tensorflow")
    distributions = Lazy("baselines_compat.distributions")


class MultiCategorical(MultiCategoricalHead, StochasticHead):
    """A softmax for each choice; the coordinates of an action are the one-hot vectors of its choices, side by side."""

    reparameterised = False

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.MultiDiscrete)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> MultiCategorical:
        assert isinstance(space, spaces.MultiDiscrete)
        return cls(tuple(np.ravel(space.nvec).tolist()), **settings)

    @property
    def geometries(self) -> Mapping[str, Geometry]:
        return geometries_of_choices(self.choices)

    def coordinates(self, actions: NDArray[Any]) -> NDArray[Any]:
        return one_hots(actions, self.choices)

    def acts(self, outputs: NDArray[np.float32], perturbations: NDArray[Any]) -> NDArray[Any]:
        return self.act(outputs, perturbations)

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """Gumbel's."""
        return rng.gumbel(size=(*shape, self.num_outputs))

    def drawn(self, pd: Any, noise: tf.Tensor) -> tf.Tensor:
        logits = pd.flat[:, tf.newaxis] + noise
        hot = [tf.one_hot(tf.argmax(run, axis=-1), run.shape[-1]) for run in distributions.split_runs(logits, self.choices)]
        return _joined(hot)

    def log_prob_of_drawn(self, pd: Any, drawn: tf.Tensor) -> tf.Tensor:
        log_probs = _joined([tf.nn.log_softmax(run) for run in distributions.split_runs(pd.flat, self.choices)])
        return tf.reduce_sum(tf.stop_gradient(drawn) * log_probs[:, tf.newaxis], axis=[1, 2])

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        runs = distributions.split_runs(outputs, self.choices)
        return tf.concat([tf.argmax(run, axis=-1) for run in runs], axis=-1)

    def sample_tensor(self, outputs: tf.Tensor, free: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        del free
        return self.mode_tensor(outputs + distributions.gumbel_noise(outputs, seed))


class Bernoulli(BernoulliHead, StochasticHead):
    """A logistic probability for each switch; the coordinates of an action are its bits."""

    reparameterised = False

    @classmethod
    def takes(cls, space: spaces.Space[Any]) -> bool:
        return isinstance(space, spaces.MultiBinary)

    @classmethod
    def of(cls, space: spaces.Space[Any], **settings: Any) -> Bernoulli:
        return cls(size_of(space), **settings)

    @property
    def geometries(self) -> Mapping[str, Geometry]:
        return BERNOULLI

    def coordinates(self, actions: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(actions, np.float32)

    def acts(self, outputs: NDArray[np.float32], perturbations: NDArray[Any]) -> NDArray[Any]:
        return self.act(outputs, perturbations)

    def noise(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """Logistic, the difference of two Gumbel's."""
        return rng.logistic(size=(*shape, self.size))

    def drawn(self, pd: Any, noise: tf.Tensor) -> tf.Tensor:
        return tf.cast(pd.flat[:, tf.newaxis] + noise > 0, noise.dtype)

    def log_prob_of_drawn(self, pd: Any, drawn: tf.Tensor) -> tf.Tensor:
        logits = pd.flat[:, tf.newaxis]
        return tf.reduce_sum(tf.stop_gradient(drawn) * logits - tf.nn.softplus(logits), axis=[1, 2])

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(outputs > 0, tf.int64)

    def sample_tensor(self, outputs: tf.Tensor, free: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        del free
        return tf.cast(tf.random.stateless_uniform(tf.shape(outputs), seed) < tf.sigmoid(outputs), tf.int64)


def one_hots(actions: NDArray[Any], choices: Sequence[int]) -> NDArray[np.float32]:
    """Vectors [..., Σ choices] of actions [..., parts], counted from zero."""
    parts = [np.eye(count, dtype=np.float32)[actions[..., i]] for i, count in enumerate(choices)]
    return np.concatenate(parts, axis=-1)


# ---- geometries --------------------------------------------------------------------------------------------


@functools.lru_cache
def geometries_of_choices(choices: tuple[int, ...]) -> Mapping[str, Geometry]:
    """Those of independent choices of so many each; flat are the logits of all [B, Σ choices]."""
    return {name: _of_choices(part, choices) for name, part in categorical.GEOMETRIES.items()}


def _of_choices(part: Geometry, choices: tuple[int, ...]) -> Geometry:
    def runs(flat: tf.Tensor) -> list[tf.Tensor]:
        return distributions.split_runs(flat, choices)

    def distance(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
        pairs = zip(runs(old), runs(new), strict=True)
        return tf.add_n([tf.reduce_sum(part.distance(before, after), axis=-1) for before, after in pairs])

    def metric(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
        return _joined([part.metric(run, along) for run, along in zip(runs(flat), runs(tangent), strict=True)])

    def unit(flat: tf.Tensor) -> tf.Tensor:
        """The mean over the choices."""
        shares = [run.shape[-2] / len(choices) for run in runs(flat)]
        return tf.add_n([share * part.unit(run) for share, run in zip(shares, runs(flat), strict=True)])

    return Geometry(part.name, distance, metric, part.curvature, unit)


def _of_switches(part: Geometry) -> Geometry:
    def distance(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(part.distance(_two_logits(old), _two_logits(new)), axis=-1)

    def metric(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
        return part.metric(_two_logits(flat), _two_logits(tangent))[..., 1]

    return Geometry(part.name, distance, metric, part.curvature, lambda flat: part.unit(_two_logits(flat)))


def _two_logits(flat: tf.Tensor) -> tf.Tensor:
    """[..., size, 2] of logits [..., size]."""
    return tf.stack([tf.zeros_like(flat), flat], axis=-1)


def _joined(runs: Sequence[tf.Tensor]) -> tf.Tensor:
    """[..., Σ r n] from runs [..., r, n]."""
    flat = [tf.reshape(run, [*_leading(run), run.shape[-2] * run.shape[-1]]) for run in runs]
    return tf.concat(flat, axis=-1) if len(flat) > 1 else flat[0]


def _leading(run: tf.Tensor) -> list[int]:
    return [-1 if length is None else length for length in run.shape[:-2]]


BERNOULLI: Mapping[str, Geometry] = {name: _of_switches(part) for name, part in categorical.GEOMETRIES.items()}
