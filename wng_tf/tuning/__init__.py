"""Hyper-parameters searched with Optuna: spaces, studies, pruning, trials on the engines of sweeps, what is written."""
