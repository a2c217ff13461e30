"""The Wasserstein natural gradient: a few pure functions on tensors, and one object over them.

| symbol | meaning | shape | word in the code |
|---|---|---|---|
| θ | parameters | [P] | variables |
| X_n | behavioural embedding of sample n, drawn from q_θ | [N, d] | embeddings |
| Y_m, i_m | basis point and its coordinate | [M, d], [M] | `KernelBasis` |
| h_m(x) = ∂_{i_m} K(Y_m, x) | basis function | [M, N] | values |
| C_{m,(n,i)} = ∂_i h_m(X_n) | its gradients | [M, N, d] | basis_gradients |
| L = C Cᵀ / N | similarity matrix | [M, M] | similarity |
| J_m = ∇_θ E_{q_θ}[h_m] | Jacobian | [M, P] | jacobian |
| g = ∇_θ 𝓛, g_W | gradient, natural gradient | [P] | gradient, direction |
| ε, D | damping, diagonal preconditioner | [], [P] | epsilon |

Ĝ = Jᵀ L† J estimates the Wasserstein information matrix, and g_W = (Ĝ + ε D⁻¹)⁻¹ g. Equation numbers in docstrings
are those of "Efficient Wasserstein Natural Gradients for Reinforcement Learning" (ICLR 2021).

    basis = KernelBasis.sample(embeddings, num_basis=5, seed=0)
    slopes = basis.gradients(embeddings)
    jacobian = reparameterised_jacobian(tape, embeddings, slopes, variables)
    result = natural_gradient(gradient, jacobian, similarity(slopes), epsilon=1e-5)
"""

from __future__ import annotations

from wng_tf.natural_gradient import damping
from wng_tf.natural_gradient.dense_chain import ChainPass, DenseChain
from wng_tf.natural_gradient.estimator import (
    NaturalGradient,
    Whitening,
    natural_gradient,
    whitened_natural_gradient,
    whitening,
)
from wng_tf.natural_gradient.fisher import (
    conjugate_gradient,
    fisher_natural_gradient,
    fisher_vector_product,
    metric_vector_product,
    per_sample_scores,
    sketched_scores,
)
from wng_tf.natural_gradient.jacobian_rows import DenseRows, LayerScores
from wng_tf.natural_gradient.jacobians import (
    dense_gradient,
    evolution_jacobian,
    flatten,
    pullback,
    reparameterised_jacobian,
    score_jacobian,
    unflatten,
)
from wng_tf.natural_gradient.kernels import KernelBasis, similarity
from wng_tf.natural_gradient.optimizer import WassersteinNaturalGradient

__all__ = [
    "ChainPass",
    "DenseChain",
    "DenseRows",
    "KernelBasis",
    "LayerScores",
    "NaturalGradient",
    "WassersteinNaturalGradient",
    "Whitening",
    "conjugate_gradient",
    "damping",
    "dense_gradient",
    "evolution_jacobian",
    "fisher_natural_gradient",
    "fisher_vector_product",
    "flatten",
    "metric_vector_product",
    "natural_gradient",
    "per_sample_scores",
    "pullback",
    "reparameterised_jacobian",
    "score_jacobian",
    "similarity",
    "sketched_scores",
    "unflatten",
    "whitened_natural_gradient",
    "whitening",
]
