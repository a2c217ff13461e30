"""Settings of the policy-gradient family, and their defaults by environment type."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from wng_tf import embeddings
from wng_tf.algorithms import PolicyGradientAlgorithm
from wng_tf.embeddings import EMBEDDINGS
from wng_tf.envs.tasks import KINDS, Task
from wng_tf.errors import UserError
from wng_tf.parts import IMAGE_NETWORKS, METRICS, NETWORKS, PENALTIES, STEP_RULES, SURROGATES, metric_name
from wng_tf.policy_gradient import conditions as on
from wng_tf.runtime import memory
from wng_tf.training import schedules, settings
from wng_tf.training.run_settings import RunConfig
from wng_tf.training.settings import Where, setting

WNG = "Wasserstein natural gradient"
PENALTY = "Wasserstein penalty"
PARTS = "parts of the algorithm"
TRUST = "trust region"

#: Networks of `baselines_compat.models` that are there without anybody's registering them.
_KERAS_NETWORKS = ("mlp", *IMAGE_NETWORKS)


@dataclasses.dataclass(frozen=True)
class PolicyGradientConfig(RunConfig):
    """Settings in Baselines' ppo2 names; defaults are the paper's (Appendix D.1), which are Baselines' for MuJoCo."""

    surrogate: str | None = setting(None, "surrogate objective", group=PARTS, choices=SURROGATES)
    penalty: str | None = setting(None, "penalty", group=PARTS, choices=PENALTIES)
    metric: str | None = setting(None, "metric of the natural gradient", group=PARTS, choices=METRICS)
    step_rule: str | None = setting(None, "step rule", group=PARTS, choices=STEP_RULES)

    num_env: int = setting(1, "number of environments", low=1)
    num_workers: int = setting(
        1,
        "processes, or Ray actors, that step the environments; the result does not depend on it",
        low=1,
        role="operational",
    )
    nsteps: int = setting(2048, "steps per environment between updates", low=1)
    nminibatches: int = setting(32, "minibatches per epoch", low=1)
    noptepochs: int = setting(10, "epochs over the batch per update", low=1, when=on.MINIBATCH)
    lr: str = setting(
        "5e-5",
        "learning rate: a number, a schedule such as linear:3e-4 (or cosine, or linear:3e-4:1e-5), or module:function of the "
        "fraction of training that is left",
        convert=schedules.as_text,
    )
    optimizer: str = setting("adam", "Keras optimizer", choices=("adam", "momentum", "sgd"))
    gamma: float = setting(0.99, "discount factor", low=0.0, high=1.0)
    lam: float = setting(0.95, "lambda of generalised advantage estimation", low=0.0, high=1.0)
    cliprange: float = setting(
        0.2,
        "clip range of the importance ratio (clipped surrogate): a number, or as lr a schedule or function",
        above=0.0,
        when={"surrogate": "clipped"},
        convert=schedules.number_setting("cliprange"),
    )
    target_kl: float | None = setting(
        None,
        "stop the epochs of an update after the first one whose mean approximate KL divergence is above this; that of "
        "Stable-Baselines3 stops within an epoch, at the first minibatch above 1.5 times it",
        above=0.0,
        when=on.MINIBATCH,
    )
    value_cliprange: float = setting(
        0.0, "clip range of the value's change; 0: none (Baselines' ppo2 uses cliprange)", low=0.0
    )
    recompute_advantages: bool = setting(
        False, "compute advantages and returns anew at every epoch, by the value function of then", when=on.MINIBATCH
    )
    ent_coef: float = setting(0.0, "entropy coefficient", low=0.0)
    vf_coef: float = setting(0.5, "value loss coefficient", low=0.0, when=on.MINIBATCH)
    max_grad_norm: float = setting(0.5, "clip the step direction to this norm; 0: do not clip", low=0.0, when=on.MINIBATCH)
    kl_target: float = setting(
        0.01, "KL per update that the adaptive coefficient aims at (penalty kl)", above=0.0, when={"penalty": "kl"}
    )
    kl_coef: float = setting(1.0, "initial KL coefficient (penalty kl)", low=0.0, when={"penalty": "kl"})
    num_layers: int = setting(2, "hidden layers of the mlp network", low=1, when=on.MLP)
    num_hidden: int = setting(64, "units of a hidden layer of the mlp network", low=1, when=on.MLP)
    activation: str = setting(
        "tanh", "activation of the mlp network", choices=("tanh", "relu", "elu", "silu", "gelu"), when=on.MLP
    )
    value_network: str = setting(
        "copy",
        "a network of its own for the value, made as the policy's; or shared: the policy's, up to its last layer",
        choices=("copy", "shared"),
    )
    init_logstd: float = setting(
        0.0,
        "log standard deviation that a Gaussian policy begins with",
        when={"load_path": Where("no --load_path", lambda policy: policy is None or not policy.spec.num_free)},
    )
    normalize_observations: bool = setting(True, "normalize observations by running statistics")
    normalize_rewards: bool = setting(True, "scale rewards by the running deviation of the discounted return")
    log_interval: int = setting(1, "updates between rows of the log", low=1, role="operational")
    save_interval: int = setting(10, "updates between checkpoints; 0: only at the end", low=0, role="operational")
    keep_checkpoints: int = setting(3, "how many checkpoints to keep, besides the best", low=1, role="operational")

    embedding: str = setting(
        "actions",
        f"behavioural embedding: {', '.join(EMBEDDINGS)}, or package.module:function",
        group=WNG,
        when={"metric": ("wasserstein_kernel", "wasserstein_exact")},
    )
    jacobian: str = setting(
        "auto",
        "how J is computed; auto: reparameterised where the embedding allows it, else score",
        group=WNG,
        choices=("auto", "reparameterised", "score"),
        when=on.KERNEL,
    )
    num_basis: int = setting(5, "basis functions M of the kernel estimator", group=WNG, low=1, when=on.KERNEL)
    epsilon: float = setting(
        1e-5,
        "damping of the information matrix (initial value, if adaptive)",
        group=WNG,
        low=1e-10,
        high=1e5,
        when=on.DAMPED,
    )
    damping: str = setting(
        "adaptive",
        "epsilon: fixed; adapted to the reduction on the same minibatch; or as the released code does",
        group=WNG,
        choices=("adaptive", "fixed", "original"),
        when=on.DAMPED,
    )
    log_bandwidth: float = setting(0.0, "log10 of the factor on the kernel's squared bandwidth", group=WNG, when=on.KERNEL)
    diagonal_damping: bool = setting(
        True, "damp with the diagonal preconditioner of Arbel et al. (2020)", group=WNG, when=on.DAMPED
    )
    embedding_length: int = setting(32, "points in time of a trajectory embedding", group=WNG, low=1,
                                    when={**on.KERNEL, "embedding": on.TIMED})  # fmt: skip

    wasserstein_coef: float = setting(
        0.1, "coefficient beta of the penalty (beta/2) W2", group=PENALTY, low=0.0, when=on.PENALIZED
    )
    num_actions: int = setting(
        10,
        "actions K drawn per state, for the penalty and the embedding",
        group=PENALTY,
        low=1,
        when=(on.PENALIZED, {**on.KERNEL, "embedding": on.DRAWN}),
    )
    num_features: int = setting(
        0,
        "random Fourier features R of the test functions; 0: the Gaussian kernel itself",
        group=PENALTY,
        low=0,
        when=on.PENALIZED,
    )
    inner_steps: int = setting(25, "ascent steps T of the test functions", group=PENALTY, low=1, when=on.PENALIZED)
    inner_lr: float = setting(0.05, "step size of the test functions' ascent", group=PENALTY, above=0.0, when=on.PENALIZED)
    bandwidth: float = setting(
        1.0,
        "bandwidth of the features, in units of the spread of the old policy's actions",
        group=PENALTY,
        above=0.0,
        when=on.PENALIZED,
    )
    gamma_w: float = setting(
        1.0, "entropic regularisation, in squared units of that spread", group=PENALTY, above=0.0, when=on.PENALIZED
    )

    trust_radius: float = setting(
        0.01,
        "how far one update may move the policy, per state on average",
        group=TRUST,
        above=0.0,
        high=1e5,
        when=on.TRUST_REGION,
    )
    covariance_radius: float = setting(
        0.0,
        "a bound of its own for the covariance's part of the distance, in nats or squared actions; trust_radius is then the "
        "mean's; 0: one radius for both",
        group=TRUST,
        low=0.0,
        high=1e5,
        when=on.TRUST_REGION,
    )
    distance: str | None = setting(
        None,
        "what the radius bounds: KL(old, new), or W2 squared; default: the latter if the metric is a Wasserstein one",
        group=TRUST,
        choices=("kl", "wasserstein"),
        when=on.TRUST_REGION,
    )
    radius_unit: str = setting(
        "variance",
        "what a radius on W2 squared is a multiple of: the mean variance of an action's coordinate, or absolute",
        group=TRUST,
        choices=("variance", "absolute"),
        when=on.W2_RADIUS,
    )
    adaptive_radius: bool = setting(
        False,
        "grow the radius, up to 10 times, while the loss falls as predicted, else shrink it",
        group=TRUST,
        when=on.TRUST_REGION,
    )
    natural_steps: int = setting(
        1,
        "steps per update, each from its own gradient and metric; they share the radius",
        group=TRUST,
        low=1,
        when=on.TRUST_REGION,
    )
    cg_iters: int = setting(
        10,
        "products of the conjugate gradients",
        group=TRUST,
        low=1,
        when=(on.CONJUGATE_GRADIENTS, {"metric": ("fisher_exact", "wasserstein_exact")}),
    )
    cg_damping: float = setting(
        0.01,
        "damping of the metric, in the unit of cg_damping_unit",
        group=TRUST,
        low=0.0,
        when=on.CONJUGATE_GRADIENTS,
    )
    cg_damping_unit: str = setting(
        "curvature",
        "what the damping is a multiple of: the metric's curvature along the gradient, or absolute, as in Stable-Baselines3",
        group=TRUST,
        choices=("curvature", "absolute"),
        when=on.CONJUGATE_GRADIENTS,
    )
    cg_warm_start: bool = setting(
        False,
        "start the conjugate gradients from the direction of the step before",
        group=TRUST,
        when=on.CONJUGATE_GRADIENTS,
    )
    metric_stride: int = setting(
        1, "average the metric over every so many states of the batch", group=TRUST, low=1, when=on.CONJUGATE_GRADIENTS
    )
    backtracks: int = setting(
        10,
        "how often a step that does not lower the loss is halved before it is given up",
        group=TRUST,
        low=0,
        when=on.TRUST_REGION,
    )
    vf_iters: int = setting(
        5,
        "passes over the batch that fit the value function; lr is their learning rate",
        group=TRUST,
        low=1,
        when=on.TRUST_REGION,
    )

    @property
    def batch_size(self) -> int:
        """Samples of one update, nsteps * num_env."""
        return self.nsteps * self.num_env


#: What differs from the defaults above by the type of the environment (`Task.kind`).
DEFAULTS_BY_KIND: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "mujoco": {},
        "pybullet": {},
        "classic": {"nsteps": 512, "nminibatches": 8, "lr": "1e-4"},
        "other": {},
    }
)


def check(config: PolicyGradientConfig, network: str) -> None:
    """What can be said about a learning rate, an embedding and a network before TensorFlow is loaded.

    Raises:
      UserError: one of them is unknown.
    """
    schedules.function("lr", config.lr)
    embeddings.find(config.embedding)
    # Whoever has registered one has imported the module.
    models = sys.modules.get("baselines_compat.models")
    known = _KERAS_NETWORKS if models is None else tuple(models.mapping)
    if NETWORKS.is_own(network):
        NETWORKS.find(network)
    elif network not in known:
        raise UserError(f"Unknown network '{network}': registered are {', '.join(sorted(known))}.")


def resolve(algorithm: PolicyGradientAlgorithm, kind: str, given: Mapping[str, Any]) -> PolicyGradientConfig:
    """The settings of a run: defaults, then the environment type's, the algorithm's, and what the user gave.

    Raises:
      UserError: an unknown setting, a value outside its limits, or values that do not fit together.
    """
    parts = {part: getattr(algorithm, part) for part in ("surrogate", "penalty", "metric", "step_rule")}
    config = settings.build(PolicyGradientConfig, parts, DEFAULTS_BY_KIND.get(kind, {}), algorithm.defaults, given)
    config = dataclasses.replace(config, metric=metric_name(str(config.metric), config.step_rule))
    if config.batch_size % config.nminibatches:
        raise UserError(
            f"--nminibatches={config.nminibatches} does not divide the batch of {config.batch_size} samples "
            f"(nsteps * num_env): choose a divisor."
        )
    if config.num_workers > config.num_env:
        raise UserError(f"--num_workers={config.num_workers} is more than --num_env={config.num_env}.")
    memory.check(_needs(config))
    return config


def resolve_for(algorithm: PolicyGradientAlgorithm, task: Task, given: Mapping[str, Any]) -> PolicyGradientConfig:
    """`resolve` for a task."""
    return resolve(algorithm, task.kind, given)


def exceptions() -> dict[str, Mapping[str, Any]]:
    """Where settings have other defaults than those above, in words, and which."""
    return {f"{KINDS[kind]} tasks": values for kind, values in DEFAULTS_BY_KIND.items()}


def default_network(task: Task) -> str:
    """Dense layers on every task."""
    del task
    return _KERAS_NETWORKS[0]


def _needs(config: PolicyGradientConfig) -> dict[str, float]:
    """Bytes that settings take at the very least, whatever the environment."""
    minibatch = config.batch_size / config.nminibatches if config.step_rule == "minibatch" else config.batch_size
    actions = config.num_actions if settings.has_effect(config, "num_actions") else 0
    features = config.num_features if settings.has_effect(config, "num_features") else 0
    return {
        f"--num_env={config.num_env}": 10_000.0 * config.num_env,  # an environment and its open monitor file
        f"--nsteps={config.nsteps} with --num_env={config.num_env}": 40.0 * config.batch_size,
        f"--num_hidden={config.num_hidden} with --num_layers={config.num_layers}": (
            # Weights and gradients of two networks, an observation and an action of one number each.
            2 * 8.0 * config.num_hidden * (config.num_hidden * (config.num_layers - 1) + 2)
        ),
        f"--num_actions={config.num_actions}": 4.0 * minibatch * actions,
        f"--num_features={config.num_features}": 4.0 * minibatch * features,
    }
