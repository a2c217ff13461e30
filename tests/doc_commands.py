"""What makes a command of the docs small enough for a test."""

from __future__ import annotations

from wng_tf import algorithms

#: Commands without a flag that makes them small: the tests of what they run are elsewhere.
ONLY_CHECKED = {
    "benchmarks.ppo_vs_sb3": "trains both libraries to 300 000 steps",
    "benchmarks.trpo_vs_sb3": "trains both libraries to 300 000 steps",
    "benchmarks.scaling": "starts a cluster",
    "benchmarks.evotorch_peer": "needs EvoTorch",
    "benchmarks.same_bits": "needs an older checkout",
    "wng_tf.experiments.figure3": "of runs of tasks that a tiny sweep does not have",
    "wng_tf.experiments.ablation": "of runs of a whole grid",
}

GRADIENT = {"num_timesteps": 64, "nsteps": 64, "nminibatches": 2, "noptepochs": 1}
STRATEGY = {"num_timesteps": 1, "population": 2, "horizon": 20}


def budget(words: tuple[str, ...]) -> list[str]:
    """Flags that make a command small; they come last, so they win."""
    module = words[2]
    given = dict(word[2:].partition("=")[::2] for word in words[3:] if word.startswith("--"))
    if module in ("wng_tf.run", "baselines_compat.run"):
        if "flagfile" in given:
            return ["--num_timesteps=128"] if "num_timesteps" in given else []
        strategy = given.get("alg") in algorithms.EVOLUTION_STRATEGIES
        return [f"--{name}={value}" for name, value in (STRATEGY if strategy else GRADIENT).items()]
    if module == "wng_tf.evaluate":
        return ["--episodes=2", "--max_episode_steps=20"]
    if module == "wng_tf.tune":
        if "flagfile" in given:
            return ["--dry_run"]
        return [
            "--n_trials=2",
            "--seeds=0",
            "--num_timesteps=64",
            "--set=nsteps=64,nminibatches=2,noptepochs=1",
            "--pruner=none",
        ]
    if module == "wng_tf.sweep":
        small = ",".join(f"{name}={value}" for name, value in GRADIENT.items())
        names = "|".join(algorithms.POLICY_GRADIENTS)
        return ["--seeds=0", "--algs=ppo", "--envs=InvertedDoublePendulum-v5", f"--override=alg={names}:{small}", "--jobs=2"]
    if module == "wng_tf.experiments.figure4":
        folder = "-".join(["out", given.get("task", "point"), given.get("setting", "ours")])
        return ["--num_timesteps=1", "--seeds=0", "--methods=es", f"--runs={folder}", f"--out={folder}"]
    return OTHERS.get(module, [])


OTHERS = {
    "wng_tf.experiments.figure1": ["--output_dir=out"],
    "wng_tf.experiments.estimator_accuracy": ["--output_dir=out", "--num_seeds=1"],
    "wng_tf.experiments.exact_matrix": ["--out=out", "--basis=5", "--num_states=32", "--draws=1"],
    "benchmarks.throughput": ["--repetitions=1", "--algs=ppo", "--sections=parts", "--output_dir=out"],
    "benchmarks.natural_gradient": ["--repetitions=1", "--passes=2"],
    "benchmarks.penalty_accuracy": ["--states=2", "--draws=2", "--solved=1", "--features=5", "--steps=2", "--output_dir=out"],
    "benchmarks.mujoco_stepping": ["--repetitions=1", "--steps=50", "--output_dir=out"],
    "benchmarks.pybullet_stepping": ["--repetitions=1", "--steps=50", "--output_dir=out"],
    "benchmarks.evolution": ["--repetitions=1", "--output=out.json"],
    "benchmarks.updates": ["--repetitions=1", "--contenders=ppo"],
}
