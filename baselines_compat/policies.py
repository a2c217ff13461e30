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
from baselines_compat.actor import ACTIVATIONS, ActionHead, ActorSpec, JointActor, forward, head_of
from baselines_compat.conform import size_of
from baselines_compat.distributions import Pd
from baselines_compat.inputs import shapes_of, structured
from baselines_compat.models import get_network_builder, in_float32, ortho_init

Weights = Sequence[tf.Tensor]

#: Networks whose builders take a seed.
_SEEDED = ("mlp", "cnn", "cnn_small")


class PolicyWithValue(tf.Module):
    """A stochastic policy, with a value network of its own or one that shares layers with it.

    Layers that both have are the policy's: their weights are among its parameters, before those of the value alone.

    Attributes:
      actor: Keras model, observations [B, obs] -> outputs [B, n] for the head: mean or logits.
      critic: Keras model, observations [B, obs] -> value [B, 1].
      head: from the outputs to actions.
      logstd: variable of the head's free parameters, log standard deviations [act] of a Gaussian; None if it has none.
      pdtype: the distribution family of the actions.
      num_shared: how many numbers, the first of θ, are weights of both networks.

    Raises:
      ValueError: the value network shares other layers of the policy's network than the first.
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
        own = {id(variable): place for place, variable in enumerate(actor.trainable_variables)}
        shared = [own[id(variable)] for variable in critic.trainable_variables if id(variable) in own]
        self._alone = [variable for variable in critic.trainable_variables if id(variable) not in own]
        before = [id(variable) in own for variable in critic.trainable_variables]
        if shared != list(range(len(shared))) or before != sorted(before, reverse=True):
            raise ValueError("The value network must share the first layers of the policy's network, or none.")
        self._shapes = [tuple(v.shape) for v in self.parameters]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.num_policy_weights = self._actor_count + (0 if self.logstd is None else 1)
        self._critic_places = [*shared, *range(self.num_policy_weights, len(self._shapes))]
        self.policy_size = sum(self._sizes[: self.num_policy_weights])
        self.num_shared = sum(self._sizes[: len(shared)])
        self.size = sum(self._sizes)

    @property
    def discrete(self) -> bool:
        """Whether the actions are whole numbers."""
        return not isinstance(self.action_space, gym.spaces.Box)

    @property
    def parameters(self) -> list[Any]:
        """The variables, in the order of θ."""
        logstd = [] if self.logstd is None else [self.logstd]
        return [*self.actor.trainable_variables, *logstd, *self._alone]

    def get_flat(self) -> np.ndarray:
        """θ [P], float32."""
        return np.concatenate([np.ravel(np.asarray(v)) for v in self.parameters]).astype(np.float32)

    def get_separate_flat(self) -> np.ndarray:
        """θ of two networks that share nothing: what both have stands twice, also before the weights of the value alone."""
        theta = self.get_flat()
        return np.concatenate([theta[: self.policy_size], theta[: self.num_shared], theta[self.policy_size :]])

    def set_separate_flat(self, theta: np.ndarray) -> None:
        """The inverse of `get_separate_flat`: what both networks have is taken from the policy's part."""
        value = self.policy_size + self.num_shared
        self.set_flat(np.concatenate([theta[: self.policy_size], theta[value:]]))

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
        out = self.outputs(weights, observations)
        return self.head.flatparam(out, None if self.logstd is None else weights[self._actor_count])

    def outputs(self, weights: Weights, observations: tf.Tensor) -> tf.Tensor:
        """The actor's outputs [B, n] for observations [B, obs]."""
        actor_weights = list(weights[: self._actor_count])
        out, _ = self.actor.stateless_call(actor_weights, self.actor.non_trainable_variables, observations)
        return out

    def pd(self, weights: Weights, observations: tf.Tensor) -> Pd:
        """The action distributions for observations [B, obs]."""
        return self.pdtype.pdfromflat(self.pd_flat(weights, observations))

    def value(self, weights: Weights, observations: tf.Tensor) -> tf.Tensor:
        """V(s) [B] from all weights."""
        critic_weights = [weights[place] for place in self._critic_places]
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
        return ActorSpec(layers=dense_chain(self.actor, size_of(self.observation_space)), head=self.head)

    def critic_layers(self) -> tuple[tuple[int, int, str], ...]:
        """Dense layers (inputs, units, activation) of the value network; ValueError as `actor_spec`.

        Of a network that shares layers with the policy, those come first.
        """
        return dense_chain(self.critic, size_of(self.observation_space))

    @property
    def in_numpy(self) -> bool:
        """Whether the actor is a chain of dense layers, which acts in NumPy where the environments are."""
        try:
            self.actor_spec()
        except ValueError:
            return False
        return True

    def acting(self) -> ActorSpec | JointActor:
        """How rollouts act: in NumPy as `actor_spec` says, or all worlds at once through the Keras model."""
        return self.actor_spec() if self.in_numpy else KerasActor(self)


class KerasActor(JointActor):
    """A policy's Keras model, compiled, which acts on the observations of all worlds at once."""

    def __init__(self, policy: PolicyWithValue):
        self.head = policy.head
        self._policy = policy
        # The weights are variables of this actor's own, so that the policy's may be anything meanwhile.
        self._weights = [
            tf.Variable(tf.zeros(v.shape), trainable=False) for v in policy.parameters[: policy.num_policy_weights]
        ]
        signature = [tf.TensorSpec([None, size_of(policy.observation_space)])]
        self._call = tf.function(self._outputs, input_signature=signature, autograph=False)

    def load(self, flat: np.ndarray) -> None:
        start = 0
        for variable in self._weights:
            size = int(np.prod(variable.shape))
            variable.assign(np.reshape(flat[start : start + size], variable.shape).astype(np.float32))
            start += size

    def free(self) -> np.ndarray:
        return self._weights[-1].numpy() if self.head.num_free else np.zeros(0, np.float32)

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        return self._call(tf.constant(np.ascontiguousarray(observations))).numpy()

    def _outputs(self, observations: tf.Tensor) -> tf.Tensor:
        return self._policy.outputs([tf.convert_to_tensor(variable) for variable in self._weights], observations)


_STATEFUL = (keras.layers.RNN, keras.layers.BatchNormalization)


def refuse_state(model: keras.Model) -> None:
    """ValueError unless all of a model is in its trainable weights: no running statistics, no noise, no recurrence."""
    for layer in model._flatten_layers():
        kept = [] if isinstance(layer, keras.Model) else layer.non_trainable_variables
        if isinstance(layer, _STATEFUL) or kept:
            raise ValueError(
                f"The network's layer '{layer.name}' ({type(layer).__name__}) keeps a state besides its trainable weights, "
                "or draws random numbers: use layers without, such as LayerNormalization in place of BatchNormalization."
            )


def dense_chain(model: keras.Model, inputs: int) -> tuple[tuple[int, int, str], ...]:
    """Dense layers (inputs, units, activation) of a model that is a chain of such over flat observations [B, inputs].

    Raises:
      ValueError: it has another layer, or branches, or computes something else than its layers one after another do.
    """
    chain: list[tuple[int, int, str]] = []
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
    for (_, units, _), (following, _, _) in zip(chain, chain[1:], strict=False):
        if units != following:
            raise ValueError("Rollouts run in NumPy and know chains of Dense layers; this network branches.")
    if [size for size, _, _ in chain[:1]] != [inputs] or not _computes(model, chain):
        raise ValueError(
            f"Rollouts run in NumPy and know chains of Dense layers over {inputs} observations, each used once and "
            "trainable; this network is something else."
        )
    return tuple(chain)


def _computes(model: keras.Model, chain: Sequence[tuple[int, int, str]]) -> bool:
    """Whether a model, whose layers may be connected in another way than they are listed, makes what the chain does."""
    shapes = [shape for inputs, units, _ in chain for shape in ((inputs, units), (units,))]
    variables = model.trainable_variables
    if [tuple(v.shape) for v in variables] != shapes:
        return False
    # Not with the weights that it has: networks that differ make the same where a layer begins at zero.
    rng = np.random.default_rng(0)
    weights = [
        np.asarray(v, np.float32) + rng.normal(0.0, 0.1, shape).astype(np.float32)
        for v, shape in zip(variables, shapes, strict=True)
    ]
    probe = np.linspace(-1.0, 1.0, chain[0][0], dtype=np.float32)[np.newaxis]
    expected, _ = model.stateless_call(weights, model.non_trainable_variables, probe)
    layers = [(weights[2 * i], weights[2 * i + 1], ACTIVATIONS[name]) for i, (_, _, name) in enumerate(chain)]
    return np.allclose(forward(layers, probe), np.asarray(expected), rtol=1e-3, atol=1e-5)


def features_of(make: Callable[[Any], Any], space: gym.Space, name: str) -> tuple[Any, Any]:
    """Keras tensors: flat observations [B, obs], and the features [B, k] that the network makes of them.

    Raises:
      ValueError: what `make` gives is no Keras model of one output.
    """
    shapes = shapes_of(space)
    network = make(shapes)
    if not isinstance(network, keras.Model):
        raise ValueError(f"The network '{name}' must make a keras.Model, not a {type(network).__name__}.")
    inputs = keras.Input((size_of(space),))
    seen = structured(inputs, space)
    if isinstance(network, keras.Sequential):  # layer by layer, so that a chain is seen to be one
        features = seen
        for layer in network.layers:
            features = layer(features)
    elif seen is inputs and isinstance(getattr(network, "input", None), keras.KerasTensor):
        inputs, features = network.input, network.output
    else:
        features = network(seen)
    if not isinstance(features, keras.KerasTensor) or len(features.shape) < 2:
        raise ValueError(f"The network '{name}' must have one output, features [B, k].")
    return inputs, features if len(features.shape) == 2 else keras.layers.Flatten()(features)


def last_layer(features: tuple[Any, Any], units: int, gain: float, seed: int, name: str) -> keras.Model:
    """The model of features from `features_of` and a linear layer on them, orthogonal with that gain."""
    dense = keras.layers.Dense(units, kernel_initializer=ortho_init(gain, seed), name=f"{name}_head")
    inputs, output = features
    return keras.Model(inputs, dense(output), name=name)


@in_float32()
def build_policy(
    observation_space: gym.Space,
    action_space: gym.Space,
    network: str | Callable[..., Any] = "mlp",
    *,
    seed: int = 0,
    init_logstd: float = 0.0,
    head: ActionHead | None = None,
    value_network: str = "copy",
    **network_kwargs: Any,
) -> PolicyWithValue:
    """A policy and its value network.

    Both are made by the builder of `network`, or with `value_network="shared"` they are one network up to their last layers.
    It is called with the shape of the environment's observations, see `models.register`; `mlp` sees them flat.
    Last layers are orthogonal with gain 0.01 (policy) and 1 (value); log standard deviation does not depend on the state.
    `head` is the one that fits the action space unless another is given.

    Raises:
      ValueError: unknown network, one that makes no Keras model or keeps a state, an action space that no distribution fits,
        or another `value_network` than copy and shared.
    """
    if value_network not in ("copy", "shared"):
        raise ValueError(f"value_network must be copy or shared, not {value_network!r}.")
    build = get_network_builder(network)
    seeds = streams.WEIGHTS.words(4, seed)
    count = 1 if value_network == "shared" else 2
    if network in _SEEDED:
        builders = [build(seed=s, **network_kwargs) for s in seeds[:count]]
    else:
        keras.utils.set_random_seed(seeds[0])  # a registered network draws its weights from Keras' own streams
        builders = [build(**network_kwargs) for _ in range(count)]
    seen = gym.spaces.Box(-np.inf, np.inf, (size_of(observation_space),)) if network == "mlp" else observation_space
    name = network if isinstance(network, str) else getattr(network, "__name__", "network")
    head = head_of(action_space) if head is None else head
    features = [features_of(builder, seen, name) for builder in builders]
    actor = last_layer(features[0], head.num_outputs, 0.01, seeds[2], "actor")
    critic = last_layer(features[-1], 1, 1.0, seeds[3], "critic")
    return PolicyWithValue(observation_space, action_space, actor, critic, init_logstd, head)
