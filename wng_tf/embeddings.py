"""Behavioural embedding maps Φ: what a policy's behaviour is taken to be.

Two kinds:

* An *action* embedding is a function of the K actions drawn at a state. It is differentiable in the actions, so J can
  be reparameterised (continuous actions) or use the score.
* A *trajectory* embedding is a NumPy function of a whole trajectory. It passes through the environment, so J uses the score.

Register your own with `@register(name, kind=...)`, or name it on the command line as `--embedding=package.module:function`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wng_tf.errors import UserError
from wng_tf.runtime.faults import reason
from wng_tf.runtime.registry import Registry, is_path

KINDS = ("action", "trajectory")


class Trajectory(NamedTuple):
    """A stretch of one episode: T steps, up to its end or the end of the batch.

    Shapes: `observations` [T, obs] normalized, `actions` [T, act] ([T, n] one-hot if discrete), `rewards` [T] raw,
    `final_observation` [obs] normalized.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    final_observation: np.ndarray


@dataclasses.dataclass(frozen=True)
class Embedding:
    """A registered map. `function(actions [n, K, act], values [n]) -> [n, d]` for kind "action";
    `function(trajectory, length) -> [d]` for kind "trajectory". `uses_value`: J covers the value's parameters too.
    `beside_state`: the basis functions see the state as well, but move only the embedding (kind "action").
    `uses_length`: the function takes as many points in time as it is told (kind "trajectory")."""

    name: str
    kind: str
    function: Callable[..., Any]
    uses_value: bool = False
    beside_state: bool = False
    uses_length: bool = True


EMBEDDINGS: Registry[Embedding] = Registry("embedding", "embedding", what="function")


def register(
    name: str,
    *,
    kind: str = "trajectory",
    uses_value: bool = False,
    beside_state: bool = False,
    uses_length: bool | None = None,
) -> Callable[[Callable], Callable]:
    """Decorator: make a function available as `--embedding=name`. `uses_length` is by default whether the kind may."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not '{kind}'.")
    if kind == "trajectory" and (uses_value or beside_state):
        raise ValueError("uses_value and beside_state are for embeddings of actions.")

    def add(function: Callable) -> Callable:
        timed = kind == "trajectory" if uses_length is None else uses_length
        EMBEDDINGS.register(name, Embedding(name, kind, function, uses_value, beside_state, timed))
        return function

    return add


def names() -> list[str]:
    """Registered names."""
    return sorted(EMBEDDINGS)


def trajectory_embeddings() -> list[str]:
    """Registered names of those that are made of whole trajectories, which evolution strategies can use."""
    return [name for name in EMBEDDINGS if EMBEDDINGS.find(name).kind == "trajectory"]


def may_use_length(name: str) -> bool:
    """Whether an embedding may be made of as many points in time as it is told. A path is not imported for it."""
    return is_path(name) or find(name).uses_length


def may_use_actions(name: str) -> bool:
    """Whether an embedding may be one of the actions drawn at a state. A path is not imported for it."""
    return is_path(name) or find(name).kind == "action"


def find(name: str) -> Embedding:
    """The embedding called `name`, or imported from `package.module:function`.

    An imported function that no `register` decorates is taken as a trajectory embedding.

    Raises:
      UserError: nothing of that name, or nothing that can be called.
    """
    found = EMBEDDINGS.find(name)
    if isinstance(found, Embedding):
        return found
    for embedding in map(EMBEDDINGS.find, EMBEDDINGS):
        if embedding.function is found:
            return embedding
    _check_arguments(name, found)
    return Embedding(name, "trajectory", found)


def _check_arguments(name: str, function: Callable[..., Any]) -> None:
    """UserError if the function says of itself that it does not take a trajectory and a length."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # functions written in C need not say
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise UserError(
            f"Embedding '{name}' cannot be called with a trajectory and a length ({error}): write it as "
            "function(trajectory, length)."
        ) from None


def embed(embedding: Embedding, trajectory: Trajectory, length: int, dtype: type = np.float32) -> np.ndarray:
    """The embedding [d] of a trajectory.

    Raises:
      UserError: the function raises, or gives what is no array of numbers.
    """
    try:
        return np.asarray(embedding.function(trajectory, length), dtype).reshape(-1)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever goes wrong in somebody's function
        raise _failed(embedding.name, f"on a trajectory of {len(trajectory.rewards)} steps", error) from error


def embed_actions(embedding: Embedding, drawn: Any, values: Any) -> Any:
    """The embeddings [n, d] of the actions drawn at n states, a tensor.

    Raises:
      UserError: the function raises, or gives no tensor of that shape.
    """
    try:
        embedded = embedding.function(drawn, values)
        shape = tuple(embedded.shape)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise _failed(embedding.name, f"on actions of shape {tuple(drawn.shape)}", error) from error
    if len(shape) != 2 or shape[0] != drawn.shape[0] or not shape[1]:
        raise UserError(f"Embedding '{embedding.name}' must give a tensor [{drawn.shape[0]}, d], not {list(shape)}.")
    return embedded


def _failed(name: str, what: str, error: Exception) -> UserError:
    return UserError(f"Embedding '{name}' failed {what}: {type(error).__name__}: {reason(error)}.")


@register("actions", kind="action")
def actions(drawn: Any, values: Any) -> Any:
    """The K actions of a state, concatenated: [n, K * act]."""
    del values
    import tensorflow as tf

    return tf.reshape(drawn, [drawn.shape[0], drawn.shape[1] * drawn.shape[2]])


@register("state_actions", kind="action", beside_state=True)
def state_actions(drawn: Any, values: Any) -> Any:
    """The K actions of a state, told apart by the state: [n, K * act].

    Where two states take the same action, a basis function of actions alone moves both. With the state beside them the
    estimate sees nearly all of the exact matrix, most with one action a state (`--num_actions=1`): see
    `wng_tf.experiments.exact_matrix`.
    """
    return actions(drawn, values)


@register("actions_value", kind="action", uses_value=True)
def actions_value(drawn: Any, values: Any) -> Any:
    """The K actions of a state and its value: [n, K * act + 1], as in the released code.

    Not the default: the value is no behaviour, and its scale decides how much of the trust region it takes.
    """
    import tensorflow as tf

    return tf.concat([actions(drawn, values), values[:, tf.newaxis]], axis=1)


def _evenly(values: np.ndarray, length: int) -> np.ndarray:
    """`length` rows of values [T, k], evenly spaced in time (all of them, zero-padded, if T < length)."""
    steps = values.shape[0]
    if steps <= length:
        return np.concatenate([values, np.zeros((length - steps, *values.shape[1:]), values.dtype)])
    return values[np.linspace(0, steps - 1, length).round().astype(int)]


@register("trajectory_actions")
def trajectory_actions(trajectory: Trajectory, length: int) -> np.ndarray:
    """Actions of the trajectory at `length` evenly spaced steps, concatenated [length * act] (Section 2)."""
    return _evenly(trajectory.actions, length).reshape(-1)


@register("final_state", uses_length=False)
def final_state(trajectory: Trajectory, length: int) -> np.ndarray:
    """The last observation [obs]."""
    del length
    return trajectory.final_observation


@register("mean_state", uses_length=False)
def mean_state(trajectory: Trajectory, length: int) -> np.ndarray:
    """The mean observation [obs]."""
    del length
    return trajectory.observations.mean(axis=0)


@register("reward_to_go")
def reward_to_go(trajectory: Trajectory, length: int) -> np.ndarray:
    """Rewards still to come, at `length` evenly spaced steps [length] (Appendix D.2)."""
    to_go = np.cumsum(trajectory.rewards[::-1])[::-1]
    return _evenly(to_go[:, np.newaxis], length).reshape(-1)


class TrajectoryEmbeddings(NamedTuple):
    """Embeddings of the trajectories that the samples of a batch belong to.

    `values` [B, d]: row n is the embedding of sample n's trajectory. `weights` [B], of mean 1, are inversely
    proportional to the trajectory's length, so that means over samples are means over trajectories. `mean_length`:
    steps per trajectory.
    """

    values: np.ndarray
    weights: np.ndarray
    mean_length: float


def split_trajectories(
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    ends: np.ndarray,
    final_observations: np.ndarray,
    nsteps: int,
) -> list[Trajectory]:
    """Cut a batch (environment by environment, `nsteps` each) where episodes end and where segments end."""
    cuts = np.array(ends, bool)
    cuts[nsteps - 1 :: nsteps] = True
    stops = np.flatnonzero(cuts) + 1
    starts = np.concatenate([[0], stops[:-1]])
    return [
        Trajectory(observations[a:b], actions[a:b], rewards[a:b], final_observations[b - 1])
        for a, b in zip(starts, stops, strict=True)
    ]


def embed_trajectories(trajectories: list[Trajectory], embedding: Embedding, length: int) -> TrajectoryEmbeddings:
    """Embed every trajectory and repeat the result over its steps.

    Raises:
      UserError: the embedding's result is not a finite vector of one length.
    """
    results = [embed(embedding, t, length) for t in trajectories]
    sizes = {r.size for r in results}
    if len(sizes) != 1 or 0 in sizes or not all(np.isfinite(r).all() for r in results):
        raise UserError(f"Embedding '{embedding.name}' must give finite vectors of one length for every trajectory.")
    lengths = np.array([t.rewards.shape[0] for t in trajectories])
    mean_length = float(lengths.mean())
    values = np.repeat(np.stack(results), lengths, axis=0)
    weights = np.repeat(mean_length / lengths, lengths).astype(np.float32)
    return TrajectoryEmbeddings(values, weights, mean_length)


def embed_batch(
    batch: Any, embedding: Embedding, length: int, coordinates: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Columns of a batch (`runner.Batch`) of B samples for a trajectory embedding.

    `embeddings` [B, d] and `weights` [B] as in `TrajectoryEmbeddings`, `mean_length` [B], all alike. `coordinates` [B, act]
    are the actions as vectors, see `wng_tf.policies.heads`; by default the batch's own.
    """
    actions = batch.actions if coordinates is None else coordinates
    ends = np.logical_or(batch.terminated, batch.truncated)
    trajectories = split_trajectories(
        batch.observations, actions, batch.raw_rewards, ends, batch.final_observations, batch.nsteps
    )
    embedded = embed_trajectories(trajectories, embedding, length)
    lengths = np.full(len(batch.rewards), embedded.mean_length, np.float32)
    return {"embeddings": embedded.values, "weights": embedded.weights, "mean_length": lengths}
