"""The natural gradient as an object, for training loops of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from wng_tf.natural_gradient import damping
from wng_tf.natural_gradient.estimator import NaturalGradient, natural_gradient
from wng_tf.natural_gradient.jacobians import (
    dense_gradient,
    flatten,
    reparameterised_jacobian,
    score_jacobian,
    unflatten,
)
from wng_tf.natural_gradient.kernels import KernelBasis, similarity
from wng_tf.natural_gradient.seeds import stateless_seed

__all__ = ["WassersteinNaturalGradient"]


class WassersteinNaturalGradient(tf.Module):
    """Turns the gradient of a loss into its Wasserstein natural gradient, behind any Keras optimiser.

        wng = WassersteinNaturalGradient(num_basis=5)
        with tf.GradientTape(persistent=True) as tape:
            embeddings = model(inputs)              # what the model does, [N, d]
            loss = loss_function(embeddings)
        gradients, diagnostics = wng(tape, loss, embeddings, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))

    Works eagerly, in `tf.function` and with `jit_compile=True`. Two tf.Variables are its state (they are saved with
    a checkpoint): the damping, and the number of calls, from which each call draws its own basis.
    """

    def __init__(
        self,
        num_basis: int = 5,
        *,
        epsilon: float = 1e-5,
        log_bandwidth: float = 0.0,
        diagonal: bool = False,
        max_norm: float | None = None,
        seed: int = 0,
    ) -> None:
        """`num_basis` M, starting damping `epsilon`, `log_bandwidth` and `diagonal` as in the functions of the same
        arguments; directions longer than `max_norm` are shortened to it."""
        super().__init__(name="wasserstein_natural_gradient")
        self.num_basis, self.log_bandwidth, self.diagonal, self.max_norm = (
            num_basis,
            log_bandwidth,
            diagonal,
            max_norm,
        )
        self._seed = stateless_seed(seed)
        self._calls = tf.Variable(0, trainable=False, dtype=tf.int32)
        self._damping = [tf.Variable(value, trainable=False) for value in damping.initial(epsilon)]

    @property
    def epsilon(self) -> tf.Tensor:
        """The damping that the next call uses."""
        return self._damping[0].value()

    def __call__(
        self,
        tape: tf.GradientTape,
        loss: tf.Tensor,
        embeddings: tf.Tensor,
        variables: Sequence[tf.Variable],
        *,
        log_probs: tf.Tensor | None = None,
    ) -> tuple[list[tf.Tensor], NaturalGradient]:
        """The natural gradients, shaped as the variables, and their diagnostics.

        The persistent `tape` must have recorded `loss` and the embeddings [N, d] (further axes are flattened). Where
        no gradient passes through the embeddings, give the recorded `log_probs` [N] of the samples as well. Variables that
        the loss or the embeddings do not depend on give zeros.

        Raises:
          ValueError: the tape is for one use, or has not seen the loss, or the embeddings, depend on any of the variables;
            eagerly also numbers that are not finite.
        """
        variables = list(variables)
        embeddings = tf.convert_to_tensor(embeddings)
        gradient = flatten(dense_gradient(tape, loss, variables, name="loss"))
        points = tf.reshape(embeddings, [tf.shape(embeddings)[0], -1])
        self._calls.assign_add(1)
        basis_seed = tf.random.experimental.stateless_fold_in(self._seed, self._calls, alg="philox")
        basis = KernelBasis.sample(points, self.num_basis, seed=basis_seed, log_bandwidth=self.log_bandwidth)
        slopes = basis.gradients(points)
        if log_probs is None:
            slopes_shaped = tf.reshape(slopes, tf.concat([[self.num_basis], tf.shape(embeddings)], axis=0))
            jacobian = reparameterised_jacobian(tape, embeddings, slopes_shaped, variables)
        else:
            jacobian = score_jacobian(tape, log_probs, basis(points), variables)
        result = natural_gradient(gradient, jacobian, similarity(slopes), self.epsilon, self.diagonal)
        direction = result.direction if self.max_norm is None else tf.clip_by_norm(result.direction, self.max_norm)
        return unflatten(direction, variables), result

    def update_damping(self, loss_old: tf.Tensor, loss_new: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
        """Adapts ε to the losses on one minibatch before and after the step; returns the reduction ratio.

        `predicted` is the linear decrease: learning rate times `slope` of the diagnostics for a plain gradient step.
        """
        ratio = damping.reduction_ratio(loss_old, loss_new, predicted)
        state = damping.update(damping.DampingState(*(part.value() for part in self._damping)), ratio)
        for variable, value in zip(self._damping, state, strict=True):
            variable.assign(value)
        return ratio
