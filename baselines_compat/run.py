"""`python -m baselines_compat.run --alg=ppo2 --env=Hopper-v5 --num_timesteps=1e6 --network=mlp`: Baselines' command line.

Arguments of Baselines become settings of the program that trains, under its names; any other `--name=value` is passed on
as it is. The program is looked up by its name when the command runs (`PROGRAM`), so that this package needs none.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from baselines_compat.common.cmd_util import ELSEWHERE, common_arg_parser, parse_unknown_args
from baselines_compat.errors import UserError

#: The command that trains, as module:function. It reads `sys.argv`, and ends the process.
PROGRAM = "wng_tf.run:app"
USAGE_ERROR = 2

#: Baselines' algorithms, and what they are called here.
ALGORITHMS = {"ppo2": "ppo", "ppo1": "ppo", "trpo_mpi": "trpo"}
#: Those of Baselines that are not here.
MISSING = ("a2c", "acer", "acktr", "ddpg", "deepq", "gail", "her")
#: Settings of Baselines under another name here, by algorithm.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "ppo1": {
        "timesteps_per_actorbatch": "nsteps",
        "clip_param": "cliprange",
        "entcoeff": "ent_coef",
        "optim_epochs": "noptepochs",
        "optim_stepsize": "lr",
    },
    "trpo_mpi": {"timesteps_per_batch": "nsteps", "max_kl": "trust_radius", "vf_stepsize": "lr"},
}
#: Settings whose values mean something else in Baselines, by algorithm, and the setting under which they mean the same here.
MEANINGS: Mapping[str, Mapping[str, tuple[str, str]]] = {"trpo_mpi": {"cg_damping": ("cg_damping_unit", "absolute")}}
_PREFIXES = ("tf.nn.", "tf.keras.activations.", "tf.")  # `--activation=tf.tanh`


def arguments(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> list[str]:
    """The command line of the program that trains.

    Args:
      argv: Baselines' arguments, without the program's name.
      environ: where OPENAI_LOGDIR is looked up, the run's folder if `--log_path` names none.

    Raises:
      UserError: what is not supported.
    """
    parser = common_arg_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # argparse prints how the command is used, and leaves
    known, others = parser.parse_known_args(argv)
    _check(known)
    renamed = SETTINGS.get(known.alg, {})
    settings = {renamed.get(key, key): value for key, value in parse_unknown_args(others).items()}
    _check_others(others, settings)
    for key, (name, value) in MEANINGS.get(known.alg, {}).items():
        if key in settings:
            settings.setdefault(name, value)
    alg = ALGORITHMS.get(known.alg, known.alg)
    line = [f"--alg={alg}", f"--env={known.env}", f"--num_timesteps={known.num_timesteps:.0f}"]
    folder = known.log_path or environ.get("OPENAI_LOGDIR")
    named = {"seed": known.seed, "network": known.network, "num_env": known.num_env, "log_path": folder}
    named |= {"save_path": known.save_path}
    line += [f"--{key}={value}" for key, value in named.items() if value is not None]
    line += ["--play"] if known.play else []
    return line + [f"--{key}={_plain(value)}" for key, value in settings.items()]


def _refuse(message: str) -> NoReturn:
    """UserError for what argparse cannot read, in the words that other flags have."""
    unread = re.fullmatch(r"argument (--\w+): invalid (\w+) value: (.*)", message)
    if unread is None:
        raise UserError(f"{message.removeprefix('argument ').rstrip('.')}.")
    name, kind, value = unread.groups()
    raise UserError(f"{name} must be a {'number' if kind == 'float' else 'whole number'}, not {value}.")


def _check(known: argparse.Namespace) -> None:
    if known.alg in MISSING:
        here = ", ".join(ALGORITHMS)
        raise UserError(f"--alg={known.alg} of Baselines is not here: choose {here}, or an algorithm of wng_tf.")
    if known.env_type in ELSEWHERE:
        raise UserError(f"--env_type={known.env_type} is not supported: {ELSEWHERE[known.env_type]}.")
    if not known.num_timesteps.is_integer():
        raise UserError(f"--num_timesteps must be a whole number, not {known.num_timesteps}.")
    if known.gamestate is not None:
        raise UserError("--gamestate is for Retro games, which are not supported: leave it out.")
    if known.reward_scale != 1.0:
        raise UserError(
            "--reward_scale is not supported: rewards are divided by the deviation of the return, which undoes it. For a "
            "scale that counts, give --normalize_rewards=false and an environment whose rewards are scaled."
        )
    if known.save_video_interval:
        raise UserError("--save_video_interval is not supported: films are made afterwards, by wng_tf.evaluate --video.")


def _check_others(others: Sequence[str], settings: Mapping[str, str]) -> None:
    """UserError for what is no `--name=value` or `--name value`: it would be passed over."""
    taken = sum(1 if "=" in argument else 2 for argument in others if argument.startswith("--"))
    if taken != len(others) or any(not key.isidentifier() for key in settings):
        raise UserError(f"'{' '.join(others)}' has something that is no setting: settings are given as --name=value.")


def _plain(value: str) -> str:
    """The name of an activation function without that of TensorFlow; other values as they are."""
    prefix = next((prefix for prefix in _PREFIXES if value.startswith(prefix)), "")
    return value.removeprefix(prefix)


def program() -> Callable[[], None]:
    """The command that trains. UserError if it is not installed."""
    module, _, function = PROGRAM.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise UserError(f"{PROGRAM} trains, and cannot be imported ({error}): install it.") from error


def main() -> NoReturn:
    """Read Baselines' command line, and run the program that trains. Ends the process."""
    try:
        sys.argv[1:] = arguments(sys.argv[1:])
        app = program()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    app()
    sys.exit()


if __name__ == "__main__":
    main()
