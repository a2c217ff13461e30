"""Playing a policy on a screen, as Baselines' `--play` does."""

from __future__ import annotations

import itertools

from wng_tf.envs import screen
from wng_tf.envs.tasks import Task
from wng_tf.evaluate import play
from wng_tf.policies.acting import SavedPolicy


def show(policy: SavedPolicy, env: str | Task, *, episodes: int = 0, seed: int = 0, timeout: float = 0.0) -> None:
    """Play episodes of the deterministic policy on a screen, and print what each gave, until Ctrl-C.

    Args:
      policy: who acts.
      env: a short name, a Gymnasium id or a task.
      episodes: how many; 0: until Ctrl-C.
      seed: of the start states.
      timeout: see `screen.showing`.

    Raises:
      UserError: there is no screen, the environment cannot be made or has no window.
      EnvironmentFailure, WorkerError: it raised, or the process that it is in died.
    """
    with screen.showing(env, timeout, policy.acts_through_tensorflow or None) as world:
        try:
            for episode in range(episodes) if episodes else itertools.count():
                result = play(policy, world, 1, seed + episode, deterministic=True)
                print(f"Episode {episode + 1}: return {result.mean:.2f}, length {result.lengths[0]}", flush=True)
        except KeyboardInterrupt:
            print(flush=True)
