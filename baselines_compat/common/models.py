"""Where Baselines keeps networks."""

from baselines_compat.models import get_network_builder, mlp, register

__all__ = ["get_network_builder", "mlp", "register"]
