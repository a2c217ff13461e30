"""The scores of a policy's actions, layer by layer: one reverse pass for all samples."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from baselines_compat.actor import ActorSpec
from baselines_compat.policies import PolicyWithValue
from wng_tf.natural_gradient import LayerScores
from wng_tf.policies.network import Network
from wng_tf.policies.tensors import forward


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
    network, head = Network.of_dense(spec.layers), policy.head
    count, depth = observations.shape[0], len(network.layers)
    x = tf.reshape(observations, [count, -1])
    inputs: list[tf.Tensor | None] = []
    shifts = [tf.zeros([count, layer.units], x.dtype) for layer in network.layers]
    if head.num_free:
        shifts.append(tf.zeros([count, head.num_free], x.dtype))
    dense = list(zip(weights[: 2 * depth : 2], weights[1 : 2 * depth : 2], strict=True))
    with tf.GradientTape() as tape:
        tape.watch(shifts)
        outputs = forward(network, dense, x, shifts=shifts, note=inputs.append)
        free = None
        if head.num_free:
            inputs.append(None)
            free = weights[2 * depth] + shifts[-1]
        log_prob = tf.reduce_sum(policy.pdtype.pdfromflat(head.flatparam(outputs, free)).logp(actions))
    return LayerScores(list(zip(inputs, tape.gradient(log_prob, shifts), strict=True)))
