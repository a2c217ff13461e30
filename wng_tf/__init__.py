"""Wasserstein natural gradients for reinforcement learning, in TensorFlow 2 / Keras and OpenAI Baselines conventions."""

__version__ = "0.1.0"
