"""The trust-region update: what moves, how far, in which direction, and that training by it works."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from trust_regions import DISCRETE, SIZE, categorical_kl, flat_of, kl, make, make_batch, surrogate, w2_squared, weights_of

from baselines_compat.runner import Batch
from baselines_compat.vec_env import NonFiniteError
from wng_tf import algorithms
from wng_tf.errors import UserError
from wng_tf.policy_gradient.config import PolicyGradientConfig, resolve
from wng_tf.policy_gradient.learn import learn
from wng_tf.policy_gradient.steps import trust_region
from wng_tf.policy_gradient.steps.trust_region import adapted

# ---- how far ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1e-4, 0.1])
@pytest.mark.parametrize("alg", ["trpo", "wtrpo"])
def test_the_step_reaches_the_radius(alg, radius):
    learner = make(alg, trust_radius=radius)
    batch = make_batch(learner)
    report = learner.update(batch, 1, 1e-3, fused=False)
    old, new = batch.pd_flat.astype(np.float64), flat_of(learner, batch)
    variance = np.mean(np.exp(2.0 * old[:, 2:]))
    reached = kl(old, new) if alg == "trpo" else w2_squared(old, new) / variance
    assert report["wng/backtracks"] == 0 and report["wng/accepted"] == 1
    np.testing.assert_allclose(reached, radius, rtol=0.01)
    unit = 1.0 if alg == "trpo" else variance
    np.testing.assert_allclose(report["wng/distance_asked"], radius * unit, rtol=1e-5)
    np.testing.assert_allclose(report["wng/distance_reached"], reached * unit, rtol=1e-3)
    np.testing.assert_allclose(
        report["wng/improvement"], surrogate(learner, batch, old) - surrogate(learner, batch, new), rtol=1e-3, atol=1e-6
    )


def test_an_absolute_radius_is_in_squared_actions():
    learner = make(trust_radius=0.003, radius_unit="absolute")
    batch = make_batch(learner)
    learner.update(batch, 1, 1e-3, fused=False)
    np.testing.assert_allclose(w2_squared(batch.pd_flat, flat_of(learner, batch)), 0.003, rtol=0.01)


def test_metric_and_distance_may_differ():
    learner = make("trpo", distance="wasserstein", trust_radius=0.02)
    batch = make_batch(learner)
    learner.update(batch, 1, 1e-3, fused=False)
    variance = np.mean(np.exp(2.0 * batch.pd_flat[:, 2:]))
    np.testing.assert_allclose(w2_squared(batch.pd_flat, flat_of(learner, batch)) / variance, 0.02, rtol=0.01)


@pytest.mark.parametrize("steps", [4])
def test_natural_steps_share_the_radius(steps):
    learner = make(trust_radius=0.05, natural_steps=steps, cg_warm_start=True)
    batch = make_batch(learner)
    before = surrogate(learner, batch, flat_of(learner, batch))
    report = learner.update(batch, 1, 1e-3, fused=False)
    old, new = batch.pd_flat.astype(np.float64), flat_of(learner, batch)
    moved = w2_squared(old, new) / np.mean(np.exp(2.0 * old[:, 2:]))
    assert 0.7 * 0.05 < moved <= 1.01 * 0.05  # the path may bend; it cannot be longer
    np.testing.assert_allclose(steps * report["wng/improvement"], before - surrogate(learner, batch, new), rtol=1e-3)


def test_a_step_that_cannot_help_is_not_taken_and_the_value_is_fitted_all_the_same():
    learner = make(trust_radius=500.0, backtracks=0)
    batch = make_batch(learner)
    before = learner.theta.numpy()
    report = learner.update(batch, 1, 1e-3, fused=False)
    size = learner.policy.policy_size
    assert report["wng/accepted"] == 0.0 and report["wng/step_length"] == 0.0 and report["wng/backtracks"] == 1
    np.testing.assert_array_equal(learner.theta.numpy()[:size], before[:size])
    assert np.all(learner.theta.numpy()[size:] != before[size:])


def test_backtracking_stays_within_the_radius_and_improves():
    learner = make(trust_radius=500.0)
    batch = make_batch(learner)
    before = surrogate(learner, batch, flat_of(learner, batch))
    report = learner.update(batch, 1, 1e-3, fused=False)
    assert report["wng/accepted"] == 1.0 and report["wng/backtracks"] > 0
    assert report["wng/distance_reached"] < report["wng/distance_asked"]
    assert surrogate(learner, batch, flat_of(learner, batch)) < before


@pytest.mark.parametrize("preconditioner", ["fisher", "wasserstein_exact", "wasserstein"])
def test_categorical_policies_reach_the_radius(preconditioner):
    given = {"preconditioner": preconditioner, "distance": "kl", "num_basis": 20, "num_actions": 2}
    learner = make("trpo", DISCRETE, trust_radius=0.02, **given)
    batch = make_batch(learner)
    report = learner.update(batch, 1, 1e-3, fused=False)
    assert report["wng/backtracks"] == 0 and report["wng/improvement"] > 0.0
    np.testing.assert_allclose(categorical_kl(batch.pd_flat.astype(float), flat_of(learner, batch)), 0.02, rtol=0.01)


def test_the_radius_adapts():
    assert adapted(1.0, 0.9, 1.0) > 1.0 > adapted(1.0, 0.1, 1.0)
    assert adapted(1.0, 0.9, 0.5) < 1.0  # a natural step was given up
    assert adapted(1.0, 0.5, 1.0) == 1.0
    assert adapted(10.0, 0.9, 1.0) == 10.0 and adapted(0.1, 0.1, 1.0) == 0.1
    learner = make(adaptive_radius=True, trust_radius=1e-4)
    batch = make_batch(learner)
    first, second = (learner.update(batch, k, 1e-3, fused=False) for k in (1, 2))
    np.testing.assert_allclose(second["wng/distance_asked"], first["wng/distance_asked"] / 0.85, rtol=1e-5)


# ---- in which direction ----------------------------------------------------------------------------------------------


def dense_step(learner, batch, radius) -> np.ndarray:
    """-length (G + ε I)⁻¹ g by finite differences of the surrogate and of the distributions, and a dense solve."""
    size, theta = learner.policy.policy_size, learner.theta.numpy().astype(np.float64)

    def shifted(k, by):
        moved = theta.copy()
        moved[k] += by
        return flat_of(learner, batch, moved)

    gradient, jacobian = np.empty(size), np.empty((SIZE, 4, size))
    for k in range(size):
        plus, minus = shifted(k, 1e-5), shifted(k, -1e-5)
        gradient[k] = (surrogate(learner, batch, plus) - surrogate(learner, batch, minus)) / 2e-5
        jacobian[:, :, k] = (plus - minus) / 2e-5
    inverse = np.exp(-2.0 * batch.pd_flat[:, 2:]) if learner.config.metric == "fisher_exact" else None
    ones = np.ones((SIZE, 2))
    metric = np.hstack([inverse, 2 * ones]) if inverse is not None else np.hstack([ones, np.exp(2 * batch.pd_flat[:, 2:])])
    matrix = np.einsum("bip,bi,biq->pq", jacobian, metric, jacobian) / SIZE
    epsilon = learner.config.cg_damping
    if learner.config.cg_damping_unit == "curvature":
        epsilon *= gradient @ matrix @ gradient / (gradient @ gradient)
    direction = np.linalg.solve(matrix + epsilon * np.eye(size), gradient)
    curvature = 0.5 if inverse is not None else 1.0
    return -direction * np.sqrt(radius / (curvature * direction @ matrix @ direction))


@pytest.mark.parametrize(("damping", "unit"), [(0.03, "curvature"), (0.1, "absolute")])
@pytest.mark.parametrize("alg", ["trpo", "wtrpo"])
def test_a_small_step_is_that_of_the_dense_matrix(alg, damping, unit):
    learner = make(alg, trust_radius=1e-4, cg_iters=60, cg_damping=damping, cg_damping_unit=unit)
    batch = make_batch(learner)
    before = learner.theta.numpy()
    report = learner.update(batch, 1, 1e-3, fused=False)
    size = learner.policy.policy_size
    step = learner.theta.numpy()[:size] - before[:size]
    learner.theta.assign(before)
    expected = dense_step(learner, batch, report["wng/distance_asked"])
    assert np.linalg.norm(step - expected) < 0.02 * np.linalg.norm(expected)
    assert report["wng/residual"] < 1e-2
    assert unit == "curvature" or np.isclose(report["wng/epsilon"], damping)


def test_without_a_metric_the_step_is_along_the_gradient():
    learner = make("pg", step_rule="trust_region", trust_radius=1e-3)
    report = learner.update(make_batch(learner), 1, 1e-3, fused=False)
    assert learner.step.geometry.name == "kl" and report["wng/cosine"] == 1.0 and report["wng/backtracks"] == 0
    np.testing.assert_allclose(report["wng/distance_reached"], 1e-3, rtol=0.01)


def test_the_kernel_metric_with_many_basis_points_goes_where_the_exact_one_does():
    """States and actions together as the embedding: the estimate then sees the mean of each state's actions move."""
    exact, kernel = make(cg_iters=30), make("wnpg", step_rule="trust_region", num_basis=100, num_actions=1, cg_iters=30)
    few = make("wnpg", step_rule="trust_region", num_basis=1, num_actions=1, cg_iters=30)
    batch = make_batch(exact)
    size = exact.policy.policy_size
    steps = []
    for learner in (exact, kernel, few):
        before = learner.theta.numpy()[:size]
        learner.update(batch, 1, 1e-3, fused=False)
        steps.append(learner.theta.numpy()[:size] - before)
    cosines = [np.dot(steps[0], x) / np.linalg.norm(steps[0]) / np.linalg.norm(x) for x in steps[1:]]
    assert cosines[0] > 0.6 and cosines[0] > cosines[1] + 0.1


def test_advantages_count_up_to_scale_and_shift():
    thetas = []
    for scale, shift in ((1.0, 0.0), (50.0, -3.0)):
        learner = make()
        batch = make_batch(learner)
        learner.update(batch._replace(advantages=scale * batch.advantages + shift), 1, 1e-3, fused=False)
        thetas.append(learner.theta.numpy())
    np.testing.assert_allclose(*thetas, rtol=2e-3, atol=2e-4)


def test_the_order_of_the_samples_does_not_matter_to_the_policy():
    order = np.random.default_rng(5).permutation(SIZE)
    thetas = []
    for shuffled in (False, True):
        learner = make()
        batch = make_batch(learner)
        if shuffled:
            batch = Batch(**{k: v if k == "nsteps" else v[order] for k, v in batch._asdict().items()})
        learner.update(batch, 1, 1e-3, fused=False)
        thetas.append(learner.theta.numpy()[: learner.policy.policy_size])
    np.testing.assert_allclose(*thetas, rtol=2e-3, atol=2e-4)


def test_wider_actions_widen_the_step_alike():
    """Actions in another unit, mean and deviation times 10: the means move 10 times as far, W2² by 100 times as much."""
    moves = []
    for scale in (1.0, 10.0):
        learner = make(trust_radius=1e-3)
        theta = [np.array(w) for w in learner.policy.unflatten(learner.theta.numpy())]
        theta[2], theta[3], theta[4] = scale * theta[2], scale * theta[3], theta[4] + np.log(scale)
        learner.theta.assign(learner.policy.flatten([tf.constant(w, tf.float32) for w in theta]))
        batch = make_batch(learner)
        report = learner.update(batch, 1, 1e-3, fused=False)
        mean_moved = np.linalg.norm(flat_of(learner, batch)[:, :2] - batch.pd_flat[:, :2])
        moves.append([mean_moved, np.sqrt(report["wng/distance_reached"])])
    np.testing.assert_allclose(moves[1], 10.0 * np.array(moves[0]), rtol=0.05)


# ---- the value function ----------------------------------------------------------------------------------------------


def test_the_value_fit_is_adam_on_the_minibatches():
    """One hidden layer and Adam written out: the mean of ½ (V - R)² over each minibatch of `order`."""
    learner = make(vf_iters=2)
    batch = make_batch(learner)
    count = learner.policy.num_policy_weights
    weights = [w.copy() for w in weights_of(learner)[count:]]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step, rows in enumerate(learner.draw(1).order, 1):
        kernel, bias, head, head_bias = weights
        inputs = batch.observations[rows].astype(np.float64)
        hidden = np.tanh(inputs @ kernel + bias)
        error = ((hidden @ head + head_bias)[:, 0] - batch.returns[rows])[:, None] / len(rows)
        back = error @ head.T * (1.0 - hidden**2)
        gradients = [inputs.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]
        for w, g, m, v in zip(weights, gradients, first, second, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g**2 - v)
            w -= 0.01 * np.sqrt(1.0 - 0.999**step) / (1.0 - 0.9**step) * m / (np.sqrt(v) + 1e-5)
    learner.update(batch, 1, 0.01, fused=False)
    for ours, theirs in zip(weights_of(learner)[count:], weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


# ---- compiled, resumed, refused --------------------------------------------------------------------------------------

EVERYTHING = {"natural_steps": 2, "cg_warm_start": True, "adaptive_radius": True, "metric_stride": 3, "ent_coef": 0.01}
KERNEL = {"preconditioner": "wasserstein", "num_basis": 8, "num_actions": 2}


def assert_same(a, b):
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def compiled():
    """A learner with everything switched on, its state before the third update, that update's batch and its report."""
    learner = make(**EVERYTHING, **KERNEL)
    batches = [make_batch(learner, seed) for seed in range(3)]
    for k, batch in enumerate(batches[:2], 1):
        learner.update(batch, k, 1e-3)
    state = learner.state()
    report = learner.update(batches[2], 3, 1e-3)
    return learner, state, batches[2], report, learner.state()


def test_compiled_is_eager(compiled):
    _, state, batch, expected, after = compiled
    eager = make(**EVERYTHING, **KERNEL)
    eager.restore(state)
    report = eager.update(batch, 3, 1e-3, fused=False)
    np.testing.assert_allclose(eager.theta.numpy(), after["theta"], rtol=0.02, atol=1e-3)
    np.testing.assert_allclose(report["wng/improvement"], expected["wng/improvement"], rtol=0.02)


def test_the_same_update_gives_the_same_bits(compiled):
    learner, state, batch, expected, after = compiled
    learner.restore(state)
    assert learner.update(batch, 3, 1e-3) == expected
    assert_same(learner.state(), after)


@pytest.mark.parametrize("given", [EVERYTHING, {**EVERYTHING, **KERNEL}], ids=["exact", "kernel"])
def test_resumed_is_uninterrupted(given):
    whole, resumed = make(**given), make(**given)
    batches = [make_batch(whole, seed) for seed in range(2)]
    whole.update(batches[0], 1, 1e-3, fused=False)
    resumed.restore(whole.state())
    reports = [learner.update(batches[1], 2, 1e-3, fused=False) for learner in (whole, resumed)]
    assert reports[0] == reports[1]
    assert_same(whole.state(), resumed.state())


@pytest.mark.parametrize("where", ["advantages", "returns", "observations"])
def test_what_is_not_finite_stops_the_update_and_leaves_the_policy(compiled, where):
    learner, state, batch, *_ = compiled
    learner.restore(state)
    broken = getattr(batch, where).copy()
    broken[7] = np.nan
    with pytest.raises(NonFiniteError, match="Update 4"):
        learner.update(batch._replace(**{where: broken}), 4, 1e-3)
    np.testing.assert_array_equal(learner.theta.numpy(), state["theta"])


def test_equal_advantages_are_no_reason_to_move():
    learner = make()
    batch = make_batch(learner)
    before = learner.theta.numpy()
    report = learner.update(batch._replace(advantages=np.ones(SIZE, np.float32)), 1, 1e-3, fused=False)
    size = learner.policy.policy_size
    np.testing.assert_array_equal(learner.theta.numpy()[:size], before[:size])
    assert report["wng/accepted"] == 0.0


@pytest.mark.parametrize(
    ("alg", "given", "sentence"),
    [
        ("bgpg", {"step_rule": "trust_region"}, "--penalty=none"),
        ("wtrpo", {"embedding": "final_state"}, "--metric=wasserstein_kernel"),
        ("wnpg", {"step_rule": "trust_region", "embedding": "actions_value"}, "--embedding=actions"),
    ],
)
def test_parts_that_do_not_fit_are_refused(alg, given, sentence):
    with pytest.raises(UserError, match=sentence):
        make(alg, **given)


def test_reports_distances_of_both_kinds():
    learner = make()
    batch = make_batch(learner)
    learner.update(batch, 1, 1e-3, fused=False)
    old, new = batch.pd_flat.astype(np.float64), flat_of(learner, batch)
    moved = learner.distances(batch)
    np.testing.assert_allclose([moved["kl"], moved["w2_squared"]], [kl(old, new), w2_squared(old, new)], rtol=1e-3)


def test_every_diagnostic_is_reported():
    learner = make()
    report = learner.update(make_batch(learner), 1, 1e-3, fused=False)
    names = {f"wng/{name}" for name in trust_region.STEP_NAMES if name != "grad_norm"} | {"loss/grad_norm"}
    assert names <= set(report) and np.isfinite(list(report.values())).all()


def test_the_settings_of_the_trust_region_are_bounded():
    for bad in (
        {"trust_radius": 0.0},
        {"natural_steps": 0},
        {"cg_damping": -1.0},
        {"radius_unit": "yards"},
        {"cg_damping_unit": "g"},
    ):
        with pytest.raises(UserError):
            resolve(algorithms.find("wtrpo"), "mujoco", bad)
    assert {f.name for f in dataclasses.fields(PolicyGradientConfig)} >= {"trust_radius", "vf_iters"}


# ---- it learns -------------------------------------------------------------------------------------------------------


class Follow(gym.Env):
    """Reward is minus the squared distance of the action from a function of the observation; 8 steps an episode.

    Acting at random with unit deviation scores about -8 · (1 + 0.64) = -13; a policy that follows scores above -1.
    """

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Box(-3.0, 3.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def _observe(self):
        self.seen = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self.seen

    def step(self, action):
        wanted = 1.2 * self.seen[0] - 0.8 * self.seen[1]
        reward = -float((action[0] - wanted) ** 2)
        self.steps += 1
        return self._observe(), reward, False, self.steps == 8, {}


gym.register("TrustRegionFollow-v0", entry_point=Follow)


def returns_of(env, alg, updates, **given) -> float:
    """Mean return of the last hundred episodes."""
    seen = []

    def record(local):
        seen.append(local["batch"])

    learn(
        env=env,
        alg=alg,
        total_timesteps=updates * given["nsteps"],
        callback=record,
        progress=False,
        log_interval=1000,
        **given,
    )
    last = seen[-1]
    episodes = np.logical_or(last.terminated, last.truncated).sum()
    return float(last.raw_rewards.sum() / episodes)


SMALL = {"nsteps": 512, "nminibatches": 8, "num_layers": 1, "num_hidden": 16}


@pytest.mark.parametrize("alg", [pytest.param("trpo", marks=pytest.mark.slow), "wtrpo"])
def test_learns_to_follow(alg):
    assert returns_of("TrustRegionFollow-v0", alg, 12, trust_radius=0.05, **SMALL) > -3.0


@pytest.mark.parametrize("alg", ["trpo", pytest.param("wtrpo", marks=pytest.mark.slow)])
def test_balances_the_pole(alg):
    assert returns_of("CartPole-v1", alg, 16, trust_radius=0.02, **SMALL) > 100.0


@pytest.mark.slow
@pytest.mark.parametrize("alg", ["trpo", "wtrpo"])
def test_swings_up_the_acrobot(alg):
    assert returns_of("Acrobot-v1", alg, 60, **{**SMALL, "nsteps": 1024}) > -200.0


@pytest.mark.slow
def test_learns_with_the_kernel_estimate_of_trajectories():
    given = {"step_rule": "trust_region", "num_basis": 50, "embedding": "trajectory_actions", **SMALL}
    assert returns_of("TrustRegionFollow-v0", "wnpg", 20, trust_radius=0.05, **given) > -3.0
