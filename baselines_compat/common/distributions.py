"""Where Baselines keeps distributions of actions."""

from baselines_compat.distributions import (
    CategoricalPd,
    CategoricalPdType,
    DiagGaussianPd,
    DiagGaussianPdType,
    Pd,
    PdType,
    make_pdtype,
)

__all__ = ["CategoricalPd", "CategoricalPdType", "DiagGaussianPd", "DiagGaussianPdType", "Pd", "PdType", "make_pdtype"]
