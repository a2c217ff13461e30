"""What a natural gradient costs beside the plain one: `python -m benchmarks.natural_gradient`.

A Gaussian policy and a value network of 64-64 tanh units each, as on Hopper: P = 10 119 parameters, minibatches of
N = 64, embedding of ten sampled actions and the value, d = 31, M = 5 basis functions; float32, one thread, compiled by
XLA. All contenders take the gradient of the same loss.

Two numbers for each: one compiled call from Python, and one pass inside a compiled loop of many, as the learner has them.
Contenders take turns; the median counts. Processor time, so that other work on the machine disturbs little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from absl import app, flags

from benchmarks import one_thread
from benchmarks.timing import interleaved

flags.DEFINE_integer("passes", 100, "Passes in a compiled loop.")
flags.DEFINE_integer("repetitions", 9, "Rounds; the median counts.")
flags.DEFINE_list("only", [], "Only these contenders.")
FLAGS = flags.FLAGS

STATES, ACTIONS, HIDDEN = 11, 3, 64
BATCH, DRAWN, BASIS = 64, 10, 5
#: Large against the damping of a run, so that ten conjugate gradients converge and the comparison is of equals.
EPSILON = 1e-2


def build() -> dict[str, Callable]:
    """Each contender as a function (θ [P], observations, seed) → direction [P]."""
    import tensorflow as tf

    from wng_tf.natural_gradient import (
        KernelBasis,
        LayerScores,
        conjugate_gradient,
        fisher_natural_gradient,
        flatten,
        metric_vector_product,
        natural_gradient,
        per_sample_scores,
        reparameterised_jacobian,
        score_jacobian,
        similarity,
        sketched_scores,
        unflatten,
    )

    rng = np.random.default_rng(0)

    def constant(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape), tf.float32)

    def network(*sizes: int) -> list[tf.Tensor]:
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        return [part for a, b in pairs for part in (constant(a, b) / a**0.5, constant(b) / a**0.5)]

    start = [*network(STATES, HIDDEN, HIDDEN, ACTIONS), tf.zeros(ACTIONS), *network(STATES, HIDDEN, HIDDEN, 1)]
    actions, advantages, noise = constant(BATCH, ACTIONS), constant(BATCH), constant(BATCH, DRAWN, ACTIONS)
    samples = tf.constant(rng.integers(0, BATCH, BASIS))
    coordinates = tf.constant(rng.integers(0, DRAWN * ACTIONS + 1, BASIS))

    def perceptron(weights: Sequence[tf.Tensor], x: tf.Tensor) -> tf.Tensor:
        x = tf.tanh(x @ weights[0] + weights[1])
        x = tf.tanh(x @ weights[2] + weights[3])
        return x @ weights[4] + weights[5]

    def log_prob(weights: Sequence[tf.Tensor], mean: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(-0.5 * tf.square((taken - mean) * tf.exp(-weights[6])) - weights[6], axis=-1)

    def forward(weights: Sequence[tf.Tensor], observations: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Loss, embeddings [N, 31] and log-probabilities [N]."""
        mean, value = perceptron(weights[:6], observations), perceptron(weights[7:], observations)[:, 0]
        log_probs = log_prob(weights, mean, actions)
        ratio = tf.exp(tf.clip_by_value(log_probs + 3.0, -1.0, 1.0))
        loss = -tf.reduce_mean(ratio * advantages) + 0.5 * tf.reduce_mean(tf.square(value - advantages))
        drawn = mean[:, tf.newaxis] + tf.exp(weights[6]) * noise
        return loss, tf.concat([tf.reshape(drawn, [BATCH, -1]), value[:, tf.newaxis]], axis=1), log_probs

    def with_tape(solve: Callable) -> Callable:
        def direction(theta: tf.Tensor, observations: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            weights = unflatten(theta, start)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(weights)
                loss, embeddings, log_probs = forward(weights, observations)
            gradient = flatten(tape.gradient(loss, weights))
            return solve(tape, gradient, embeddings, log_probs, weights, observations, seed)

        return direction

    def plain(tape, gradient, embeddings, log_probs, weights, observations, seed):
        return gradient

    def fixed_basis(embeddings: tf.Tensor) -> KernelBasis:
        return KernelBasis.from_indices(embeddings, samples, coordinates)

    def jacobian_only(tape, gradient, embeddings, log_probs, weights, observations, seed):
        slopes = fixed_basis(embeddings).gradients(embeddings)
        return gradient + 1e-9 * tf.reduce_sum(reparameterised_jacobian(tape, embeddings, slopes, weights), axis=0)

    def tape_jacobian(tape, gradient, embeddings, log_probs, weights, observations, seed):
        basis = fixed_basis(embeddings)
        with tape:
            mean_values = tf.reduce_mean(basis(embeddings), axis=1)
        blocks = tape.jacobian(mean_values, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        jacobian = tf.concat([tf.reshape(block, [BASIS, -1]) for block in blocks], axis=1)
        return gradient + 1e-9 * tf.reduce_sum(jacobian, axis=0)

    def one_row_at_a_time(tape, gradient, embeddings, log_probs, weights, observations, seed):
        slopes = fixed_basis(embeddings).gradients(embeddings) / BATCH
        zero = tf.UnconnectedGradients.ZERO
        rows = [
            flatten(tape.gradient(embeddings, weights, output_gradients=row, unconnected_gradients=zero))
            for row in tf.unstack(slopes)
        ]
        return gradient + 1e-9 * tf.reduce_sum(tf.stack(rows), axis=0)

    def wasserstein(*, score: bool = False, diagonal: bool = False, draw: bool = False) -> Callable:
        def solve(tape, gradient, embeddings, log_probs, weights, observations, seed):
            basis = KernelBasis.sample(embeddings, BASIS, seed=seed) if draw else fixed_basis(embeddings)
            slopes = basis.gradients(embeddings)
            if score:
                jacobian = score_jacobian(tape, log_probs, basis(embeddings), weights)
            else:
                jacobian = reparameterised_jacobian(tape, embeddings, slopes, weights)
            return natural_gradient(gradient, jacobian, similarity(slopes), EPSILON, diagonal).direction

        return solve

    def exact_wasserstein(tape, gradient, embeddings, log_probs, weights, observations, seed):
        def outputs() -> list[tf.Tensor]:
            mean = perceptron(weights[:6], observations)
            return [mean, tf.exp(weights[6]) + tf.zeros_like(mean)]

        return conjugate_gradient(gradient, metric_vector_product(outputs, weights), EPSILON, 10).direction

    def fisher(tape, gradient, embeddings, log_probs, weights, observations, seed):
        def score_of(observation: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
            return log_prob(weights, perceptron(weights[:6], observation[tf.newaxis]), action)

        scores = per_sample_scores(score_of, (observations, actions), weights)
        return fisher_natural_gradient(gradient, scores, EPSILON).direction

    def fisher_by_layers(tape, gradient, embeddings, log_probs, weights, observations, seed, diagonal=False):
        shifts = [tf.zeros([BATCH, units]) for units in (HIDDEN, HIDDEN, ACTIONS, ACTIONS)]
        with tf.GradientTape() as inner:
            inner.watch(shifts)
            first = tf.tanh(observations @ weights[0] + weights[1] + shifts[0])
            second = tf.tanh(first @ weights[2] + weights[3] + shifts[1])
            mean, logstd = second @ weights[4] + weights[5] + shifts[2], weights[6] + shifts[3]
            total = tf.reduce_sum(-0.5 * tf.square((actions - mean) * tf.exp(-logstd)) - logstd)
        deltas = inner.gradient(total, shifts)
        scores = LayerScores(list(zip([observations, first, second, None], deltas, strict=True)))
        covered = gradient[: scores.shape[1]]
        direction = fisher_natural_gradient(covered, scores, EPSILON, diagonal).direction
        return tf.concat([direction, gradient[scores.shape[1] :]], axis=0)

    def sketched_fisher(tape, gradient, embeddings, log_probs, weights, observations, seed):
        scores = sketched_scores(tape, log_probs, BASIS, weights, seed=seed)
        return fisher_natural_gradient(gradient, scores, EPSILON).direction

    solvers = {
        "plain gradient": plain,
        "with J": jacobian_only,
        "with J by tape.jacobian": tape_jacobian,
        "with J, a row at a time": one_row_at_a_time,
        "WNG": wasserstein(),
        "WNG, basis drawn inside": wasserstein(draw=True),
        "WNG, diagonal damping": wasserstein(diagonal=True),
        "WNG, score function": wasserstein(score=True),
        "WNG, exact metric, 10 CG": exact_wasserstein,
        "FNG, all 64 scores": fisher,
        "FNG, all 64, by layers": fisher_by_layers,
        "FNG, by layers, diagonal": partial(fisher_by_layers, diagonal=True),
        "FNG, 5 sketched scores": sketched_fisher,
    }
    observations = constant(BATCH, STATES)

    def compiled(solve: Callable) -> Callable[[int], object]:
        direction = with_tape(solve)

        @tf.function(jit_compile=True)
        def passes(count: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
            def step(i: tf.Tensor, theta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                # New observations, and a small step, so that no pass can be moved out of the loop.
                moved = direction(theta, tf.roll(observations, i, axis=0), tf.stack([i, 0]))
                return i + 1, theta - 1e-7 * moved

            return tf.while_loop(lambda i, _: i < count, step, (0, theta))[1]

        theta = flatten(start)
        return lambda count: passes(tf.constant(count), theta).numpy()

    return {name: compiled(solve) for name, solve in solvers.items()}


def main(argv: Sequence[str]) -> None:
    del argv
    one_thread.load()
    contenders = build()
    if FLAGS.only:
        contenders = {name: run for name, run in contenders.items() if name in FLAGS.only or name == "plain gradient"}
    counts = (1, FLAGS.passes)
    calls = {f"{name} {count}": partial(run, count) for count in counts for name, run in contenders.items()}
    seconds = interleaved(calls, FLAGS.repetitions, clock=time.process_time)
    median = {(name, count): 1e6 * seconds[f"{name} {count}"] / count for count in counts for name in contenders}
    print(f"{'':28}{'one call':>18}{'in a compiled loop':>24}")
    for name in contenders:
        cells = ""
        for count, width in zip(counts, (18, 24), strict=True):
            ratio = median[name, count] / median["plain gradient", count]
            cells += f"{median[name, count]:{width - 14}.0f} µs{ratio:6.2f} times"
        print(f"{name:28}{cells}")


if __name__ == "__main__":
    app.run(main)
