"""A network that is no chain of layers: a Keras model, kept by its configuration, with the weights in a flat vector.

It offers what `wng_tf.policies.network.Network` does, and computes in TensorFlow. The configuration is plain text, which
names Keras' own layers and those that are registered; nothing is imported or unpickled for it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wng_tf.errors import UserError
from wng_tf.policies.lazy import Lazy
from wng_tf.runtime.faults import reason

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
else:
    tf, keras = Lazy("tensorflow"), Lazy("keras")

#: Modules whose classes a configuration may name without their being registered.
_KERAS = ("keras", "keras.src", "builtins")


#: What configurations call values that are no objects.
_PLAIN = frozenset(f"__{name}__" for name in ("keras_tensor", "tensor", "numpy", "slice", "ellipsis", "tuple", "bytes"))


@dataclass(frozen=True)
class KerasNetwork:
    """A Keras model from flat observations [B, inputs] to outputs [B, outputs].

    Attributes:
      configuration: of the model, as JSON.
      inputs, outputs: lengths.
      shapes: of the weights, in the order of θ.
      name: what the network is called.
    """

    configuration: str
    inputs: int
    outputs: int
    shapes: tuple[tuple[int, ...], ...]
    name: str = "keras"

    @classmethod
    def of(cls, model: keras.Model, name: str = "keras") -> KerasNetwork:
        """The network that a model is.

        Raises:
          UserError: the model cannot be made again from its configuration: a subclass of keras.Model, an unregistered layer.
        """
        try:
            configuration = json.dumps(keras.saving.serialize_keras_object(model))
            shapes = tuple(tuple(int(n) for n in variable.shape) for variable in model.trainable_variables)
            network = cls(configuration, int(model.input.shape[-1]), int(model.output.shape[-1]), shapes, name)
            probe = np.linspace(-1.0, 1.0, network.inputs, dtype=np.float32)[np.newaxis]
            same = network.function()([variable.value for variable in model.trainable_variables], tf.constant(probe))
            if not np.allclose(same, model(probe), rtol=1e-3, atol=1e-5):
                raise ValueError("made again it computes something else")
        except (UserError, MemoryError):
            raise
        except Exception as error:  # whatever a user's layer raises
            raise UserError(
                f"The network '{name}' cannot be saved, because it cannot be made again from its configuration "
                f"({reason(error)}): make it of Keras' layers by keras.Model(inputs, outputs), and decorate layers of your "
                "own with keras.saving.register_keras_serializable."
            ) from error
        return network

    @property
    def size(self) -> int:
        """P, how many parameters."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    @property
    def entries(self) -> int:
        """As many numbers as the weights have."""
        return self.size

    def model(self) -> keras.Model:
        """The model, made anew; its weights are of no account.

        Raises:
          UserError: a layer that is not Keras' own is not registered in this process.
        """
        import baselines_compat.inputs  # noqa: F401  registers a layer
        from baselines_compat.models import in_float32

        tree = json.loads(self.configuration)
        unknown = self.unregistered()
        if unknown:
            raise UserError(
                f"The network has a layer of the class '{unknown[0]}', which is not registered here: decorate it with "
                "keras.saving.register_keras_serializable, and import its module first."
            )
        with in_float32():
            model = keras.saving.deserialize_keras_object(tree)
        found = [tuple(variable.shape) for variable in model.trainable_variables]
        if found != list(self.shapes):
            raise ValueError(f"a network whose weights have the shapes {found}, not {list(self.shapes)}")
        return model

    def unregistered(self) -> list[str]:
        """The classes of its layers that are neither Keras' own nor registered in this process.

        Raises:
          UserError: a Lambda layer.
        """
        return list(dict.fromkeys(_unregistered(json.loads(self.configuration))))

    def matrices(self, theta: NDArray[Any]) -> list[NDArray[np.float32]]:
        """The weights [..., *shape], float32, for parameters θ [..., P] or more of them."""
        found, start = [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            found.append(theta[..., start : start + size].reshape(*theta.shape[:-1], *shape).astype(np.float32))
            start += size
        return found

    def forward(self, matrices: list[NDArray[np.float32]], x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs [..., outputs] for inputs x [..., inputs], of one θ's matrices."""
        rows = np.reshape(x, (-1, self.inputs))
        outputs: NDArray[np.float32] = self._compiled([tf.constant(one) for one in matrices], tf.constant(rows)).numpy()
        return outputs.reshape(*np.shape(x)[:-1], self.outputs)

    @cached_property
    def _compiled(self) -> Callable[..., tf.Tensor]:
        weights = [tf.TensorSpec(shape) for shape in self.shapes]
        signature = [weights, tf.TensorSpec([None, self.inputs])]
        compiled: Callable[..., tf.Tensor] = tf.function(self.function(), input_signature=signature, autograph=False)
        return compiled

    def function(self) -> Callable[[list[tf.Tensor], tf.Tensor], tf.Tensor]:
        """Outputs [B, outputs] from weights and inputs [B, inputs], tensors."""
        model = self.model()

        def outputs(weights: list[tf.Tensor], x: tf.Tensor) -> tf.Tensor:
            return model.stateless_call(list(weights), [], x)[0]

        return outputs

    def initial(self, rng: np.random.Generator, positive: bool = False) -> NDArray[np.float64]:
        """A start θ [P], from the initializers of the model's layers.

        Raises:
          UserError: `positive`, which is a way of dense and Toeplitz layers.
        """
        if positive:
            raise UserError("--initial_weights=positive is for networks of dense or Toeplitz layers: leave it out.")
        before = random.getstate(), np.random.get_state()  # environments may draw from them
        try:
            keras.utils.set_random_seed(int(rng.integers(2**31)))
            variables = self.model().trainable_variables
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
        return np.concatenate([np.ravel(np.asarray(variable, np.float64)) for variable in variables])

    def to_tree(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        shapes = [list(shape) for shape in self.shapes]
        sizes = {"inputs": self.inputs, "outputs": self.outputs, "shapes": shapes}
        return {"network": self.name, "keras": self.configuration, **sizes}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> KerasNetwork:
        """The inverse of `to_tree`. ValueError, TypeError, KeyError: it is the tree of something else."""
        shapes = tuple(tuple(int(n) for n in shape) for shape in tree["shapes"])
        return cls(str(tree["keras"]), int(tree["inputs"]), int(tree["outputs"]), shapes, str(tree["network"]))


def _unregistered(tree: Any) -> Iterator[str]:
    """Classes in a configuration that are neither Keras' own nor registered: they would be imported.

    Raises:
      UserError: a Lambda layer, whose code is in the configuration.
    """
    if isinstance(tree, list):
        for one in tree:
            yield from _unregistered(one)
    if not isinstance(tree, dict):
        return
    module, kind = tree.get("module"), tree.get("class_name")
    if isinstance(kind, str) and "config" in tree:
        if kind in ("__lambda__", "Lambda"):
            raise UserError(
                "A network with a Lambda layer cannot be saved and read without running its code: write a layer class."
            )
        own = kind in _PLAIN or isinstance(module, str) and (module in _KERAS or module.startswith("keras."))
        registered = keras.saving.get_registered_object(tree.get("registered_name") or kind)
        if not own and registered is None:
            yield kind
    for one in tree.values():
        yield from _unregistered(one)
