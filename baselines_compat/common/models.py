"""Where Baselines keeps networks."""

from baselines_compat.models import cnn, cnn_small, get_network_builder, mlp, register

__all__ = ["cnn", "cnn_small", "get_network_builder", "mlp", "register"]
