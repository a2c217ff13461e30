"""A network of one's own: residual blocks with normalized layers, trained by a Wasserstein trust region on CartPole.

The same from the command line: python -m wng_tf.run --alg=wtrpo --env=CartPole-v1 --network=examples.own_network:residual
"""

import keras
from keras import layers

from wng_tf.parts import NETWORKS
from wng_tf.policy_gradient.learn import learn


@NETWORKS.register("residual")
def residual(input_shape: tuple[int, ...]) -> keras.Model:
    """Features of observations of that shape; the layers for the actions and for the value come on top."""
    inputs = keras.Input(input_shape)
    h = layers.Dense(32)(inputs)
    for _ in range(2):
        h = layers.Add()([h, layers.Dense(32, activation="tanh")(layers.LayerNormalization()(h))])
    return keras.Model(inputs, h)


def main() -> None:
    """Train for a few updates and print the returns on the way."""
    learn(
        env="CartPole-v1",
        alg="wtrpo",
        network="residual",
        value_network="shared",
        num_env=4,
        nsteps=128,
        total_timesteps=2048,
        callback=lambda local: print(f"{local['steps']} steps: mean return {local['eprewmean']:.1f}"),
    )


if __name__ == "__main__":
    main()
