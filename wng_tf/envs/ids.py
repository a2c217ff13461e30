"""Environment ids as people write them: short names, and what to say of one that there is not."""

from __future__ import annotations

import difflib
from typing import Any

from gymnasium.envs.registration import registry

SHORT_NAMES: dict[str, str] = {
    "Hopper": "wng_tf/HopperBullet-v0",
    "Walker2d": "wng_tf/Walker2dBullet-v0",
    "HalfCheetah": "wng_tf/HalfCheetahBullet-v0",
    "Ant": "wng_tf/AntBullet-v0",
    "Humanoid": "wng_tf/HumanoidBullet-v0",
    "Reacher": "wng_tf/ReacherBullet-v0",
    "DoublePendulum": "wng_tf/InvertedDoublePendulumBullet-v0",
    "Point": "wng_tf/Point-v0",
    "Quadruped": "wng_tf/Quadruped-v0",
}


def unknown(name: str, module: str, bare_id: str) -> str:
    hint = did_you_mean(bare_id)
    if module:
        return f"There is no environment {name!r}: the module {module!r} registers no {bare_id!r}. {hint or _ids_of(module)}"
    hint = hint or f"Short names are {', '.join(SHORT_NAMES)}."
    return f"There is no environment {name!r}. {hint} For an id that another package registers, write module:Id-v0."


def did_you_mean(bare_id: str) -> str:
    """A question with the closest names that there are; empty if none is close."""
    wanted = bare_id.lower()
    stem = _stem(wanted)
    known = {candidate.lower(): candidate for candidate in [*SHORT_NAMES, *filter(_can_be_made, registry)]}
    close = [known[wanted]] if wanted in known else []
    # Then the same task under another version, the newest first, then names that look alike.
    close += sorted((known[low] for low in known if _stem(low) == stem), reverse=True)
    close += [known[low] for low in difflib.get_close_matches(wanted, known, n=4)]
    close = list(dict.fromkeys(close))[:4]
    return f"Did you mean {' or '.join(close)}?" if wanted and close else ""


def _ids_of(module: str) -> str:
    """What the package registers, as a sentence."""
    package = module.partition(".")[0]
    entries = {env_id: _module_of(spec.entry_point).partition(".")[0] for env_id, spec in registry.items()}
    own = [env_id for env_id, owner in entries.items() if owner == package and _can_be_made(env_id)]
    if not own:
        return "It can be imported, but has no environments."
    return f"It has {', '.join(own[:8])}{' and others' if len(own) > 8 else ''}."


def _module_of(entry_point: Any) -> str:
    return entry_point.partition(":")[0] if isinstance(entry_point, str) else getattr(entry_point, "__module__", "") or ""


def has_moved(bare_id: str) -> bool:
    """Whether Gymnasium keeps the id only to say where the environment went."""
    entry_point = registry[bare_id].entry_point
    return not isinstance(entry_point, str) and _module_of(entry_point) == "gymnasium.envs"


def _stem(env_id: str) -> str:
    return env_id.rpartition("-v")[0] or env_id


def _can_be_made(env_id: str) -> bool:
    """False for the ids that Gymnasium keeps only to say where the environment went."""
    return isinstance(registry[env_id].entry_point, str)
