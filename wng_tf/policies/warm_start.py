"""Runs that begin from an earlier policy: where it comes from, whether it fits, its parameters in the run's order."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines_compat.conform import FlatBox
from wng_tf.errors import UserError
from wng_tf.policies.acting import SavedPolicy, Statistics
from wng_tf.policies.keras_network import KerasNetwork
from wng_tf.policies.network import KERNELS, Layer, Network
from wng_tf.policies.normalizers import RunningNormalizer
from wng_tf.policies.saved import load
from wng_tf.policies.spec import AnyNetwork
from wng_tf.runtime.paths import expanded
from wng_tf.training import checkpoint, run_folder
from wng_tf.training.run import TrainingRun

#: Ways to write a matrix in which every entry is a parameter.
_DENSE = frozenset({"columns", "rows"})


def source(
    load_path: str | os.PathLike[str] | None, log_path: str | os.PathLike[str] | None, resume: bool
) -> SavedPolicy | None:
    """The policy that a run begins from; None: it has none, or goes on from a checkpoint of its own.

    A run that is resumed before its first checkpoint begins again from the copy in its own folder.

    Args:
      load_path: anything that `saved.load` reads; None: the run begins untrained.
      log_path: folder of the run.
      resume: whether it is continued.

    Raises:
      UserError: there is no policy, or it is damaged.
    """
    if load_path is None:
        return None
    if resume and log_path is not None:
        folder = expanded(log_path)
        if checkpoint.latest_step(folder / run_folder.CHECKPOINTS) is not None:
            return None
        if (folder / run_folder.START).is_file():
            return load(folder / run_folder.START)
    return load(load_path)


def keep(start: SavedPolicy | None, run: TrainingRun, load_path: object) -> None:
    """Copies the policy that a run begins from to its folder, so that it can begin again where the original is gone."""
    if start is None:
        return
    if run.folder is not None:
        start.save(run.folder / run_folder.START)
    run.note(f"Starting from the policy of {load_path}")


def parameters(begun: SavedPolicy, own: SavedPolicy, load_path: object, shared: int = 0) -> NDArray[Any]:
    """θ [P] of a run that begins from the policy `begun`.

    Args:
      begun: an earlier policy.
      own: the run's policy as it would begin without. What `begun` has nothing for, such as the value network of an evolution
        strategy, keeps its parameters.
      load_path: what the user named, for the sentences.
      shared: how many weights, the first of both, the run's policy and value network have in common.

    Raises:
      UserError: spaces, networks, action heads or normalization are others in the two.
    """
    what = f"--load_path={load_path}"
    _check_spaces(begun, own, what)
    _check_networks(begun.spec.network, own.spec.network, begun.theta, what, "network")
    if not _act_alike(begun, own):
        raise UserError(
            f"{what} is a policy whose actions are those of {_head(begun)}, and this run's are those of {_head(own)}, which "
            "makes other actions of the same numbers: begin from a policy of the same family of algorithms."
        )
    if _normalizes(begun) != _normalizes(own):
        seen = [" normalized" if _normalizes(policy) else "" for policy in (begun, own)]
        raise UserError(
            f"{what} is a policy of{seen[0] or ' raw'} observations, and this run has{seen[1] or ' raw'} ones: give "
            f"--normalize_observations={str(_normalizes(begun)).lower()}."
        )
    theta = np.array(own.theta)
    spec, size = own.spec, own.spec.network.size
    theta[:size] = _rewritten(begun.theta, begun.spec.network, spec.network)
    if begun.spec.num_free == spec.num_free:
        theta[size : spec.num_parameters] = begun.theta[begun.spec.network.size : begun.spec.num_parameters]
    if begun.value_network is not None and own.value_network is not None:
        values = begun.theta[begun.spec.num_parameters :]
        _check_networks(begun.value_network, own.value_network, values, what, "value network")
        if not np.array_equal(values[:shared], begun.theta[:shared]):
            raise UserError(f"{what} has a value network of its own, and this run a shared one: give --value_network=copy.")
        theta[spec.num_parameters :] = _rewritten(values, begun.value_network, own.value_network)
    return theta


def statistics(begun: SavedPolicy, load_path: object) -> Statistics | None:
    """What the run's normalizers begin from; None: they have seen nothing, or are not needed.

    Raises:
      UserError: the policy normalizes, and does not say how much it has seen.
    """
    if begun.statistics is None:
        if _normalizes(begun):
            raise UserError(f"--load_path={load_path} does not say what its normalizer has seen: train it again.")
        return None
    return begun.statistics if begun.statistics.observations.count > 0 else None


def _check_spaces(begun: SavedPolicy, own: SavedPolicy, what: str) -> None:
    ours, theirs = (getattr(policy.observation_space, "original", policy.observation_space) for policy in (own, begun))
    flat = not isinstance(own.observation_space, FlatBox) and not isinstance(begun.observation_space, FlatBox)
    # Bounds of observations mean nothing to a policy.
    alike = ours.shape == theirs.shape if flat else ours == theirs
    for kind, same, mine, other in (
        ("observations", alike, ours, theirs),
        ("actions", own.action_space == begun.action_space, own.action_space, begun.action_space),
    ):
        if not same:
            raise UserError(f"{what}{_of(begun)} is a policy with the {kind} {other}, and this run{_of(own)} has {mine}.")


def _of(policy: SavedPolicy) -> str:
    return f" (on {policy.about['env']})" if "env" in policy.about else ""


def _check_networks(begun: AnyNetwork, own: AnyNetwork, theta: NDArray[Any], what: str, kind: str) -> None:
    if isinstance(begun, KerasNetwork) or isinstance(own, KerasNetwork):
        if not _compute_alike(begun, own, theta):
            raise UserError(f"{what} has another {kind} than this run: give the same --network and --value_network.")
        return
    pairs = zip(begun.layers, own.layers, strict=False)
    if len(begun.layers) != len(own.layers) or not all(_alike(one, other) for one, other in pairs):
        raise UserError(
            f"{what} has the {kind} {_shown(begun)}, and this run {_shown(own)}: give the same --network, --num_layers, "
            "--num_hidden and --activation."
        )


def _compute_alike(begun: AnyNetwork, own: AnyNetwork, theta: NDArray[Any]) -> bool:
    """Whether both make the same outputs with the parameters that are first in θ.

    The configurations of equal Keras networks differ in the names of layers, which mean nothing; and what is a chain of dense
    layers may have been saved as a model.
    """
    if (begun.inputs, begun.outputs, begun.size) != (own.inputs, own.outputs, own.size):
        return False
    if isinstance(begun, KerasNetwork) and isinstance(own, KerasNetwork) and begun.shapes != own.shapes:
        return False
    theta = theta[: begun.size]
    inputs = np.random.default_rng(0).normal(size=(16, begun.inputs)).astype(np.float32)
    networks: tuple[Any, ...] = (own, begun)
    ours, theirs = (network.forward(network.matrices(theta), inputs) for network in networks)
    return bool(np.allclose(ours, theirs, rtol=1e-3, atol=1e-5))


def _alike(one: Layer, other: Layer) -> bool:
    """Whether the parameters of one layer can be written as the other's."""
    kernels = {one.kernel, other.kernel}
    same = (one.inputs, one.units, one.activation, one.bias) == (other.inputs, other.units, other.activation, other.bias)
    return same and (len(kernels) == 1 or kernels <= _DENSE)


def _shown(network: Network) -> str:
    """`4-64-64-2, tanh, dense`."""
    sizes = "-".join(map(str, (network.inputs, *(layer.units for layer in network.layers))))
    activations = dict.fromkeys(layer.activation for layer in network.layers[:-1])
    kernels = dict.fromkeys("dense" if layer.kernel in _DENSE else layer.kernel for layer in network.layers)
    return ", ".join([sizes, *activations, *kernels])


def _rewritten(theta: NDArray[Any], begun: AnyNetwork, own: AnyNetwork) -> NDArray[Any]:
    """The parameters of the network `begun`, first in θ, in the order in which `own` has them."""
    if isinstance(begun, KerasNetwork) or isinstance(own, KerasNetwork):
        return theta[: begun.size]
    pieces, start = [], 0
    for one, other in zip(begun.layers, own.layers, strict=True):
        kernel = theta[start : start + one.kernel_size]
        if one.kernel != other.kernel:
            matrix = KERNELS[one.kernel].matrix(kernel, one.inputs, one.units)  # [units, inputs]
            kernel = np.ravel(matrix.T if other.kernel == "columns" else matrix)
        pieces += [kernel, theta[start + one.kernel_size : start + one.size]]
        start += one.size
    return np.concatenate(pieces)


def _act_alike(begun: SavedPolicy, own: SavedPolicy) -> bool:
    """Whether both heads make the same likeliest actions of the same outputs, asked of some that reach far."""
    one, other = begun.spec.head, own.spec.head
    outputs = np.random.default_rng(0).normal(0.0, 3.0, (64, one.num_outputs)).astype(np.float32)
    ours, theirs = one.mode(outputs), other.mode(outputs)
    return np.shape(ours) == np.shape(theirs) and bool(np.allclose(ours, theirs))


def _head(policy: SavedPolicy) -> str:
    return f"a {type(policy.spec.head).__name__} head{_by(policy)}"


def _by(policy: SavedPolicy) -> str:
    return f" ({policy.about['alg']})" if "alg" in policy.about else ""


def _normalizes(policy: SavedPolicy) -> bool:
    normalizer = policy.normalizer
    return normalizer is not None and not (isinstance(normalizer, RunningNormalizer) and not normalizer.settings.ob)
