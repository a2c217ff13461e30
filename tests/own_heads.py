"""Action heads and networks that a user might write, outside of the package, and the environment they are for."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from wng_tf.policies.geometry import Geometry
from wng_tf.policies.heads import DeterministicHead, StochasticHead
from wng_tf.policies.lazy import Lazy
from wng_tf.policies.network import Layer, Network

tf = Lazy("tensorflow")


class Switches(gym.Env):
    """Set three switches to the signs that are shown; the reward is the share of those that are right."""

    def __init__(self):
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float64)
        self.action_space = spaces.MultiBinary(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.shown = self.np_random.uniform(-1.0, 1.0, 3)
        self.left = 5
        return self.shown, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        reward = float(np.mean(action == (self.shown > 0)))
        self.shown = self.np_random.uniform(-1.0, 1.0, 3)
        self.left -= 1
        return self.shown, reward, self.left == 0, False, {}


gym.register("own/Switches-v0", entry_point=Switches, max_episode_steps=20)


@dataclasses.dataclass(frozen=True)
class Bernoulli(StochasticHead):
    """Independent switches; the outputs are their logits."""

    size: int
    reparameterised = False

    @classmethod
    def takes(cls, space):
        return isinstance(space, spaces.MultiBinary) and len(space.shape) == 1

    @classmethod
    def of(cls, space):
        return cls(space.shape[0])

    @property
    def num_outputs(self):
        return self.size

    def draw(self, free, rng, steps):
        return rng.random((steps, self.size))

    def act(self, outputs, perturbation):
        return (perturbation < 1.0 / (1.0 + np.exp(-outputs.astype(np.float64)))).astype(np.int32)

    def mode(self, outputs):
        return (outputs > 0).astype(np.int32)

    def mode_tensor(self, outputs):
        return tf.cast(outputs > 0, tf.int32)

    def sample_tensor(self, outputs, free, seed):
        return tf.cast(tf.random.stateless_uniform(tf.shape(outputs), seed) < tf.sigmoid(outputs), tf.int32)

    def pdtype(self):
        return bernoulli_pdtype(self.size)

    def noise(self, rng, shape):
        return rng.logistic(size=(*shape, self.size))

    def drawn(self, pd, noise):
        return tf.cast(pd.flat[:, tf.newaxis] + noise > 0, tf.float32)

    def log_prob_of_drawn(self, pd, drawn):
        logits = pd.flat[:, tf.newaxis]
        return tf.reduce_sum(drawn * logits - tf.nn.softplus(logits), axis=[1, 2])

    @property
    def geometries(self):
        def kl(old, new):
            terms = tf.sigmoid(old) * (old - new) - tf.nn.softplus(old) + tf.nn.softplus(new)
            return tf.reduce_sum(terms, axis=-1)

        def slope(flat):
            return tf.sigmoid(flat) * tf.sigmoid(-flat)

        def w2(old, new):
            return tf.reduce_sum(tf.square(tf.sigmoid(new) - tf.sigmoid(old)), axis=-1)

        return {
            "kl": Geometry("kl", kl, lambda flat, tangent: slope(flat) * tangent, 0.5, lambda flat: tf.ones([])),
            "wasserstein": Geometry(
                "wasserstein",
                w2,
                lambda flat, tangent: tf.square(slope(flat)) * tangent,
                1.0,
                lambda flat: tf.reduce_mean(slope(flat)),
            ),
        }


def bernoulli_pdtype(size):
    """The family of distributions; TensorFlow is imported here."""
    import tensorflow_probability as tfp

    from baselines_compat.distributions import Pd, PdType

    class BernoulliPd(Pd):
        def __init__(self, flat):
            super().__init__(flat, tfp.distributions.Independent(tfp.distributions.Bernoulli(flat), 1))

        def mode(self):
            return tf.cast(self.flat > 0, tf.int32)

        def sample(self, seed):
            return tf.cast(tf.random.stateless_uniform(tf.shape(self.flat), seed) < tf.sigmoid(self.flat), tf.int32)

    class BernoulliPdType(PdType):
        def pdclass(self):
            return BernoulliPd

        def param_shape(self):
            return [size]

        def sample_shape(self):
            return [size]

        def sample_dtype(self):
            return tf.int32

    return BernoulliPdType()


@dataclasses.dataclass(frozen=True)
class Signs(DeterministicHead):
    """Switches by the signs of the outputs."""

    size: int

    @classmethod
    def takes(cls, space):
        return isinstance(space, spaces.MultiBinary) and len(space.shape) == 1

    @classmethod
    def of(cls, space, noise=0.0):
        return cls(space.shape[0])

    @property
    def num_outputs(self):
        return self.size

    def mode(self, outputs):
        return (outputs > 0).astype(np.int32)

    def mode_tensor(self, outputs):
        return tf.cast(outputs > 0, tf.int32)


def narrowing(inputs, hidden, outputs):
    """Layers of half the units from one to the next, with ReLU."""
    sizes = [inputs, *(max(units >> i, 2) for i, units in enumerate(hidden)), outputs]
    layers = [Layer(before, after, "relu", "rows") for before, after in zip(sizes, sizes[1:], strict=False)]
    return Network((*layers[:-1], dataclasses.replace(layers[-1], activation="linear")), "narrowing")


def shared_diagonals(inputs, hidden, outputs):
    """Toeplitz matrices, which policy gradients do not train."""
    return Network((Layer(inputs, outputs, "linear", "toeplitz"),))


def no_network(inputs, hidden, outputs):
    return [inputs, outputs]


def failing(inputs, hidden, outputs):
    raise RuntimeError("broken")
