"""Export the policy of a run: `python -m wng_tf.export --run=runs/out/ppo-Hopper-0`.

Writes a TensorFlow SavedModel with the normalizer inside: raw observations in, actions for the environment out. It
loads in a process that has nothing but TensorFlow:

    import tensorflow as tf
    policy = tf.saved_model.load("runs/out/ppo-Hopper-0/export")
    action = policy.signatures["serving_default"](observation=tf.constant([observation], tf.float32))["action"][0]

Signatures: `serving_default` (the deterministic action), `sample` (a random one), and `value` for policy gradients.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from wng_tf import saved_policy
from wng_tf.cli import app as cli
from wng_tf.cli.parse import checkpoint_name, required, trusted
from wng_tf.errors import UserError
from wng_tf.runtime import faults
from wng_tf.runtime import output as output_folders
from wng_tf.runtime.paths import expanded
from wng_tf.training import locks, run_folder


def export_run(
    log_path: str | os.PathLike[str],
    which: str | int = "latest",
    output: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Path:
    """Export the policy of a run as a SavedModel. Returns its folder.

    Args:
      log_path: folder of the run.
      which: checkpoint: "latest", "best", or a step.
      output: folder to write; default: `export` in the run's folder. A SavedModel that is there is replaced, once the
        new one is complete.
      trust: see `saved_policy.load_to_act`.

    Raises:
      UserError: no such run or checkpoint, or `output` is something else than a SavedModel, or cannot be written to.
    """
    log_path = expanded(log_path)
    policy = saved_policy.load_to_act(log_path, which, trust)
    target = log_path / run_folder.EXPORT if output is None else expanded(output)
    _check(target)
    unusable = f"Cannot write to '{target}' ({{reason}}): give another --output."
    # A run that ends exports itself, maybe while somebody does so by hand: one waits for the other.
    lock = locks.holding(target.with_name(f".{target.name}.lock"), busy=None, unusable=unusable)
    with faults.naming(target, "give another --output"), output_folders.made(target.parent), lock:
        _replace(target, policy)
    return target


def _replace(target: Path, policy: saved_policy.SavedPolicy) -> None:
    fresh, old = (target.with_name(f".{target.name}.{suffix}") for suffix in ("new", "old"))
    for left_behind in (fresh, old):
        shutil.rmtree(left_behind, ignore_errors=True)
    try:
        policy.export(fresh)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _check(target: Path) -> None:
    if target.is_file():
        raise UserError(f"'{target}' is a file: give a folder as --output.")
    if target.is_dir() and any(target.iterdir()) and not (target / run_folder.SAVED_MODEL).exists():
        raise UserError(f"'{target}' holds something else than a SavedModel: give another --output.")


def main(argv: Sequence[str]) -> None:
    """Export what the flags say."""
    del argv
    values = flags.FLAGS
    run, which = required("run"), checkpoint_name(values.which)
    saved_policy.load(run, which)  # what is wrong with them is said before TensorFlow loads
    cli.load_tensorflow()
    print(f"Exported to {export_run(run, which, values.output, trusted())}")


def app() -> None:
    """Console entry point."""
    flags.DEFINE_string("run", None, "Folder of the run.")
    flags.DEFINE_string("which", "latest", "Checkpoint: latest, best, or the step of one.")
    flags.DEFINE_string("output", None, "Folder of the SavedModel; default: export in the run's folder.")
    cli.run_app(main)


if __name__ == "__main__":
    app()
