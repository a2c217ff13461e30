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
        return distributions.join_runs(hot, self.choices)

    def log_prob_of_drawn(self, pd: Any, drawn: tf.Tensor) -> tf.Tensor:
        runs = [tf.nn.log_softmax(run) for run in distributions.split_runs(pd.flat, self.choices)]
        log_probs = distributions.join_runs(runs, self.choices)[:, tf.newaxis]
        return tf.reduce_sum(tf.stop_gradient(drawn) * log_probs, axis=[1, 2])

    def log_prob(self, outputs: NDArray[np.float32], free: NDArray[np.float32], actions: NDArray[Any]) -> NDArray[Any]:
        del free
        rows = self._rows(outputs)
        shifted = rows - rows.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(shifted, np.asarray(actions, np.int64)[..., np.newaxis], axis=-1)[..., 0]
        log_prob: NDArray[Any] = (chosen - np.log(np.exp(shifted).sum(axis=-1))).sum(axis=-1)
        return log_prob.astype(np.float32)

    def mode_tensor(self, outputs: tf.Tensor) -> tf.Tensor:
        return distributions.likeliest(outputs, self.choices, tf.int64)

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

    def log_prob(self, outputs: NDArray[np.float32], free: NDArray[np.float32], actions: NDArray[Any]) -> NDArray[Any]:
        del free
        log_prob: NDArray[Any] = (np.asarray(actions) * outputs - np.logaddexp(0.0, outputs)).sum(axis=-1)
        return log_prob.astype(np.float32)

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
        return distributions.sum_over_runs((part.distance(before, after) for before, after in pairs), choices)

    def metric(flat: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
        pairs = zip(runs(flat), runs(tangent), strict=True)
        return distributions.join_runs([part.metric(run, along) for run, along in pairs], choices)

    def unit(flat: tf.Tensor) -> tf.Tensor:
        """The mean over the choices."""
        units = [part.unit(run) for run in runs(flat)]
        if len(units) == 1:
            return units[0]
        shares = [count / len(choices) for count, _ in distributions.runs_of(choices)]
        return tf.add_n([share * unit for share, unit in zip(shares, units, strict=True)])

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


BERNOULLI: Mapping[str, Geometry] = {name: _of_switches(part) for name, part in categorical.GEOMETRIES.items()}
