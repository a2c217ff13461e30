"""The scores of a policy's actions, layer by layer: one reverse pass for all samples."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from baselines_compat.actor import ActorSpec
from baselines_compat.policies import PolicyWithValue
from wng_tf.natural_gradient import LayerScores


def layer_scores(
    policy: PolicyWithValue,
    spec: ActorSpec,
    weights: Sequence[tf.Tensor],
    observations: tf.Tensor,
    actions: tf.Tensor,
) -> LayerScores:
    """∂ log π(a_n | s_n)/∂θ for observations [N, ...] and actions [N, ...], θ being the policy's part of `weights`.

    `spec` is `policy.actor_spec()`: the layers that are gone through here. The derivatives are those of shifts of what the
    layers give before their activation, one a sample.
    """
    inputs: list[tf.Tensor | None] = []
    count = observations.shape[0]
    x = tf.reshape(observations, [count, -1])
    shifts = [tf.zeros([count, units], x.dtype) for _, units, _ in spec.layers]
    if not spec.discrete:
        shifts.append(tf.zeros_like(shifts[-1]))
    with tf.GradientTape() as tape:
        tape.watch(shifts)
        for layer, (_, _, activation) in enumerate(spec.layers):
            inputs.append(x)
            kernel, bias = weights[2 * layer], weights[2 * layer + 1]
            x = keras.activations.get(activation)(x @ kernel + bias + shifts[layer])
        if not spec.discrete:
            inputs.append(None)
            logstd = weights[2 * len(spec.layers)]
            x = tf.concat([x, logstd + shifts[-1]], axis=-1)
        log_prob = tf.reduce_sum(policy.pdtype.pdfromflat(x).logp(actions))
    return LayerScores(list(zip(inputs, tape.gradient(log_prob, shifts), strict=True)))
