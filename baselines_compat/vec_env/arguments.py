"""What environments that step together are made from, checked before one of them is made."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, cast

from baselines_compat.errors import UserError


def count(num_env: Any) -> int:
    """How many environments: 2 for 2.0.

    Raises:
      UserError: no whole number from 1 on.
    """
    return whole("num_env", num_env, 1)


def whole(name: str, value: Any, low: int) -> int:
    """The whole number that is given for `name`: 2 for 2.0.

    Raises:
      UserError: no whole number from `low` on.
    """
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or value % 1 != 0 or value < low:
        raise UserError(f"{name} must be a whole number from {low} on, not {value!r}.")
    return int(cast(float, value))


def check(env_fns: Any, timeout: Any) -> None:
    """What every vectorised environment takes, the seed aside.

    Raises:
      UserError: `env_fns` is no list of functions, or is empty; `timeout` is no number of seconds.
    """
    listed = isinstance(env_fns, Sequence) and not isinstance(env_fns, str | bytes)
    if not listed or not env_fns or not all(map(callable, env_fns)):
        raise UserError(f"env_fns must be a list of functions that make an environment, one at least, not {env_fns!r:.100}.")
    real = isinstance(timeout, numbers.Real) and not isinstance(timeout, bool)
    if not real or not 0.0 <= timeout < math.inf:
        raise UserError(f"timeout must be a number of seconds, not {timeout!r}.")
