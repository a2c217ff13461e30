"""Wasserstein natural gradients for reinforcement learning, in TensorFlow 2 / Keras and OpenAI Baselines conventions.

from wng_tf import learn, load

policy = learn(alg="ppo", env="CartPole-v1", total_timesteps=1e5)
action, _ = policy.predict(observation, deterministic=True)
policy.save("cartpole.npz")
policy = load("cartpole.npz")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wng_tf.learning import learn
    from wng_tf.saved_policy import SavedPolicy, load

__all__ = ["SavedPolicy", "__version__", "learn", "load"]

__version__ = "0.1.0"

#: What is imported when it is asked for: the package itself imports nothing.
_ELSEWHERE = {"learn": "wng_tf.learning", "load": "wng_tf.saved_policy", "SavedPolicy": "wng_tf.saved_policy"}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'wng_tf' has no attribute '{name}'")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ELSEWHERE})
