"""Actor-critic policies: Keras networks, TFP distributions, and one flat vector of parameters.

θ [P] is [actor weights, the head's free parameters (logstd of a Gaussian), critic weights]; the first `policy_size`
entries are the policy's. Every function of the parameters takes them explicitly (`weights`, from `unflatten(θ)`), so
that a whole update can be one compiled loop over θ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf

from baselines_compat import streams
from baselines_compat.actor import ACTIVATIONS, ActionHead, Actor, ActorSpec, head_of
from baselines_compat.conform import size_of
from baselines_compat.distributions import Pd
from baselines_compat.models import get_network_builder, ortho_init

Weights = Sequence[tf.Tensor]


class PolicyWithValue(tf.Module):
    """A stochastic policy with a value network of its own.

    Attributes:
      actor: Keras model, observations [B, obs] -> outputs [B, n] for the head: mean or logits.
      critic: Keras model, observations [B, obs] -> value [B, 1].
      head: from the outputs to actions.
      logstd: variable of the head's free parameters, log standard deviations [act] of a Gaussian; None if it has none.
      pdtype: the distribution family of the actions.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        actor: keras.Model,
        critic: keras.Model,
        init_logstd: float = 0.0,
        head: ActionHead | None = None,
    ):
        super().__init__(name="policy")
        self.observation_space = observation_space
        self.action_space = action_space
        self.actor = actor
        self.critic = critic
        self.head = head_of(action_space) if head is None else head
        self.pdtype = self.head.pdtype()
        self.logstd = None
        if self.head.num_free:
            self.logstd = tf.Variable(tf.fill([self.head.num_free], tf.constant(init_logstd, tf.float32)), name="logstd")
        self._actor_count = len(actor.trainable_variables)
        self._shapes = [tuple(v.shape) for v in self.parameters]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.num_policy_weights = self._actor_count + (0 if self.logstd is None else 1)
        self.policy_size = sum(self._sizes[: self.num_policy_weights])
        self.size = sum(self._sizes)

    @property
    def discrete(self) -> bool:
        """Whether the actions are whole numbers."""
        return not isinstance(self.action_space, gym.spaces.Box)

    @property
    def parameters(self) -> list[Any]:
        """The variables, in the order of θ."""
        logstd = [] if self.logstd is None else [self.logstd]
        return [*self.actor.trainable_variables, *logstd, *self.critic.trainable_variables]

    def get_flat(self) -> np.ndarray:
        """θ [P], float32."""
        return np.concatenate([np.ravel(np.asarray(v)) for v in self.parameters]).astype(np.float32)

    def set_flat(self, theta: np.ndarray) -> None:
        """Assign θ [P] to the variables."""
        for variable, piece in zip(self.parameters, self.unflatten(np.asarray(theta, np.float32)), strict=True):
            variable.assign(piece)

    def unflatten(self, theta: tf.Tensor | np.ndarray) -> list[Any]:
        """θ [P] as a list of tensors (or arrays) in the variables' shapes."""
        pieces, start = [], 0
        reshape = np.reshape if isinstance(theta, np.ndarray) else tf.reshape
        for shape, size in zip(self._shapes, self._sizes, strict=True):
            pieces.append(reshape(theta[start : start + size], shape))
            start += size
        return pieces

    @staticmethod
    def flatten(weights: Weights) -> tf.Tensor:
        """The inverse of `unflatten`."""
        return tf.concat([tf.reshape(w, [-1]) for w in weights], axis=0)

    def pd_flat(self, weights: Weights, observations: tf.Tensor) -> tf.Tensor:
        """Flat distribution parameters [B, 2 act] or [B, n] from the (policy's) weights."""
        actor_weights = list(weights[: self._actor_count])
        out, _ = self.actor.stateless_call(actor_weights, self.actor.non_trainable_variables, observations)
        return self.head.flatparam(out, None if self.logstd is None else weights[self._actor_count])

    def pd(self, weights: Weights, observations: tf.Tensor) -> Pd:
        """The action distributions for observations [B, obs]."""
        return self.pdtype.pdfromflat(self.pd_flat(weights, observations))

    def value(self, weights: Weights, observations: tf.Tensor) -> tf.Tensor:
        """V(s) [B] from all weights."""
        critic_weights = list(weights[self.num_policy_weights :])
        out, _ = self.critic.stateless_call(critic_weights, self.critic.non_trainable_variables, observations)
        return out[:, 0]

    def step(self, observation: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray, None, np.ndarray]:
        """Baselines' `step`: actions, values, state (None: no recurrence) and -log π for observations [B, obs]."""
        weights = [tf.convert_to_tensor(v) for v in self.parameters]
        observation = tf.convert_to_tensor(observation, tf.float32)
        pd = self.pd(weights, observation)
        action = pd.sample(tf.constant([seed, 0]))
        return action.numpy(), self.value(weights, observation).numpy(), None, pd.neglogp(action).numpy()

    def actor_spec(self) -> ActorSpec:
        """What the NumPy actor needs to know of the actor network.

        Raises:
          ValueError: the network is not a chain of Dense layers.
        """
        spec = ActorSpec(layers=_dense_chain(self.actor), head=self.head)
        inputs = size_of(self.observation_space)
        if spec.size == self.policy_size and spec.layers[0][0] == inputs:
            probe = np.linspace(-1.0, 1.0, inputs, dtype=np.float32)
            expected = np.asarray(self.actor(probe[np.newaxis]))[0]
            if np.allclose(Actor(spec, self.get_flat()).params(probe), expected, rtol=1e-3, atol=1e-6):
                return spec
        raise ValueError(
            f"Rollouts run in NumPy and know chains of Dense layers over {inputs} observations, each used once and "
            "trainable; this network is something else."
        )

    def critic_layers(self) -> tuple[tuple[int, int, str], ...]:
        """Dense layers (inputs, units, activation) of the value network; ValueError as `actor_spec`."""
        return _dense_chain(self.critic)


def _dense_chain(model: keras.Model) -> tuple[tuple[int, int, str], ...]:
    chain = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer | keras.layers.Flatten):
            continue
        activation = getattr(getattr(layer, "activation", None), "__name__", None)
        if not isinstance(layer, keras.layers.Dense) or not layer.use_bias or activation not in ACTIVATIONS:
            raise ValueError(
                f"Rollouts run in NumPy and know chains of Dense layers with {', '.join(ACTIVATIONS)}; "
                f"layer '{layer.name}' is something else."
            )
        chain.append((int(layer.kernel.shape[0]), int(layer.kernel.shape[1]), activation))
    for (_, units, _), (inputs, _, _) in zip(chain, chain[1:], strict=False):
        if units != inputs:
            raise ValueError("Rollouts run in NumPy and know chains of Dense layers; this network branches.")
    return tuple(chain)


def _last_layer(network: keras.Model, units: int, gain: float, seed: int, name: str) -> keras.Model:
    dense = keras.layers.Dense(units, kernel_initializer=ortho_init(gain, seed), name=f"{name}_head")
    return keras.Model(network.input, dense(network.output), name=name)


def build_policy(
    observation_space: gym.Space,
    action_space: gym.Space,
    network: str | Callable[..., Any] = "mlp",
    *,
    seed: int = 0,
    init_logstd: float = 0.0,
    head: ActionHead | None = None,
    **network_kwargs: Any,
) -> PolicyWithValue:
    """A policy and its value network, both made by the builder of `network` (Baselines' `value_network="copy"`).

    Last layers are orthogonal with gain 0.01 (policy) and 1 (value); log standard deviation does not depend on the state.
    `head` is the one that fits the action space unless another is given.

    Raises:
      ValueError: unknown network, or an action space that no distribution fits.
    """
    build = get_network_builder(network)
    seeds = streams.WEIGHTS.words(4, seed)
    if network == "mlp":
        builders = [build(seed=s, **network_kwargs) for s in seeds[:2]]
    else:
        keras.utils.set_random_seed(seeds[0])  # a registered network draws its weights from Keras' own streams
        builders = [build(**network_kwargs) for _ in range(2)]
    shape = (size_of(observation_space),)  # rollouts hand over flat observations
    head = head_of(action_space) if head is None else head
    actor = _last_layer(builders[0](shape), head.num_outputs, 0.01, seeds[2], "actor")
    critic = _last_layer(builders[1](shape), 1, 1.0, seeds[3], "critic")
    return PolicyWithValue(observation_space, action_space, actor, critic, init_logstd, head)
