"""The compiled update against loops over minibatches written out; its steps, faults and state."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from scipy import stats

from baselines_compat.vec_env import NonFiniteError
from wng_tf.errors import UserError
from wng_tf.policy_gradient import objectives
from wng_tf.policy_gradient.learner import make_optimizer
from wng_tf.transport import RandomFeatures

SEVEN = ("pg", "ppo", "ppo_kl", "bgpg", "npg", "wnpg", "bg_wnpg")
LR = 0.01
WHOLE_BATCH = {"nminibatches": 1, "noptepochs": 1, "optimizer": "sgd"}


def moved(learner, theta: np.ndarray) -> np.ndarray:
    return learner.theta.numpy() - theta


# ---- the fused update -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", SEVEN)
def test_the_fused_update_is_the_plain_loop(alg, compiled, fresh_learner, batch_of):
    fused, plain = compiled(alg), fresh_learner(alg)
    batch, start = batch_of(fused), fused.theta.numpy()
    reports = [fused.update(batch, 1, LR), plain.update(batch, 1, LR, fused=False)]
    step = moved(plain, start)
    assert np.abs(step).max() > LR
    np.testing.assert_allclose(moved(fused, start), step, atol=0.01 * LR)
    assert reports[0].keys() == reports[1].keys()
    for name, value in reports[1].items():
        if name not in ("wng/residual", "wng/condition_number"):  # differences of nearly equal numbers
            assert reports[0][name] == pytest.approx(value, rel=1e-2, abs=1e-4), name
    for one, other in zip(fused.state()["optimizer"], plain.state()["optimizer"], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-2, atol=1e-4)
    assert fused.penalty.state() == plain.penalty.state()
    np.testing.assert_allclose(fused.step.damping.epsilon, plain.step.damping.epsilon, rtol=1e-6)


def naive_update(learner, batch, number: int, lr: float) -> np.ndarray:
    """θ after the update: minibatch after minibatch, the loss from its formula, Adam (Kingma & Ba 2015, Algorithm 1)."""
    config, draws = learner.config, learner.draw(number)
    theta = learner.theta.numpy().astype(np.float64)
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    for count, rows in enumerate(draws.order, start=1):
        variable = tf.Variable(theta, dtype=tf.float32)
        with tf.GradientTape() as tape:
            weights = learner.policy.unflatten(tf.convert_to_tensor(variable))
            flat = learner.policy.pd_flat(weights, batch.observations[rows])
            mean, logstd = flat[:, :2], flat[:, 2:]
            old_mean, old_logstd = batch.pd_flat[rows, :2], batch.pd_flat[rows, 2:]
            z = (batch.actions[rows] - mean) / tf.exp(logstd)
            log_probs = tf.reduce_sum(-0.5 * z**2 - logstd - 0.5 * np.log(2.0 * np.pi), axis=1)
            ratio = tf.exp(log_probs - batch.log_probs[rows])
            advantages = batch.advantages[rows]
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            gain = ratio * advantages
            if config.surrogate == "clipped":
                gain = tf.minimum(gain, tf.clip_by_value(ratio, 1 - config.cliprange, 1 + config.cliprange) * advantages)
            values = learner.policy.value(weights, batch.observations[rows])
            loss = -tf.reduce_mean(gain) + config.vf_coef * 0.5 * tf.reduce_mean((values - batch.returns[rows]) ** 2)
            entropy = tf.reduce_mean(tf.reduce_sum(logstd + 0.5 * np.log(2.0 * np.pi * np.e), axis=1))
            loss -= config.ent_coef * entropy
            if config.penalty == "kl":
                spread = (tf.exp(2.0 * old_logstd) + (old_mean - mean) ** 2) / (2.0 * tf.exp(2.0 * logstd))
                kl = tf.reduce_sum(logstd - old_logstd + spread - 0.5, axis=1)
                loss += learner.penalty.coefficient * tf.reduce_mean(kl)
        gradient = tape.gradient(loss, variable).numpy().astype(np.float64)
        norm = np.linalg.norm(gradient)
        if config.max_grad_norm > 0.0 and norm > config.max_grad_norm:
            gradient *= config.max_grad_norm / norm
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = lr * np.sqrt(1.0 - 0.999**count) / (1.0 - 0.9**count)
        theta -= rate * first / (np.sqrt(second) + 1e-5)
    return theta


@pytest.mark.parametrize(
    ("alg", "given"),
    [
        ("pg", {}),
        ("pg", {"ent_coef": 0.1, "vf_coef": 2.0, "max_grad_norm": 0.0}),
        ("ppo", {"cliprange": 0.05}),
        ("ppo_kl", {"kl_coef": 3.0}),
    ],
)
def test_the_plain_loop_is_the_formula(alg, given, fresh_learner, batch_of):
    learner = fresh_learner(alg, noptepochs=3, **given)
    batch, start = batch_of(learner), learner.theta.numpy()
    expected = naive_update(learner, batch, 1, LR)
    learner.update(batch, 1, LR, fused=False)
    assert np.abs(expected - start).max() > 2.0 * LR
    np.testing.assert_allclose(learner.theta.numpy(), expected, atol=0.01 * LR)


def test_a_penalty_of_coefficient_zero_changes_nothing(fresh_learner, batch_of):
    thetas = []
    for alg, given in (("pg", {}), ("bgpg", {"wasserstein_coef": 0.0}), ("ppo_kl", {"kl_coef": 0.0})):
        learner = fresh_learner(alg, **given, **WHOLE_BATCH)
        learner.update(batch_of(learner), 1, LR, fused=False)
        thetas.append(learner.theta.numpy())
    np.testing.assert_allclose(thetas[1], thetas[0], atol=1e-6)
    np.testing.assert_allclose(thetas[2], thetas[0], atol=1e-6)


def test_a_wasserstein_penalty_keeps_the_policy_near(fresh_learner, batch_of):
    distances = []
    for coefficient in (0.0, 100.0):
        learner = fresh_learner("bgpg", wasserstein_coef=coefficient, nminibatches=1, noptepochs=6)
        batch = batch_of(learner)
        learner.update(batch, 1, LR, fused=False)
        distances.append(learner.distances(batch)["w2_squared"])
    assert distances[1] < 0.25 * distances[0]


# ---- draws ----------------------------------------------------------------------------------------------------------


def test_every_epoch_is_a_permutation_of_the_batch(fresh_learner):
    learner = fresh_learner("wnpg", noptepochs=5, nminibatches=8)
    draws = learner.draw(1)
    assert draws.order.shape == (40, 8)
    epochs = draws.order.reshape(5, 64)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(64))
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert all(len(set(row)) == 3 and max(row) < 8 for row in draws.basis_samples)
    assert draws.basis_samples.shape == draws.basis_coordinates.shape == (40, 3)
    assert draws.basis_coordinates.min() >= 0.0
    assert draws.basis_coordinates.max() < 1.0
    assert draws.noise.shape == (64, 4, 2)


def test_draws_are_keyed_by_seed_and_update(fresh_learner):
    learner, other = fresh_learner("wnpg"), fresh_learner("wnpg", seed=1)
    for one, two in zip(learner.draw(3), learner.draw(3), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(learner.draw(3).order, learner.draw(4).order)
    assert not np.array_equal(learner.draw(3).order, other.draw(3).order)


def features_of(learner) -> np.ndarray:
    return learner.penalty.kernel.omega.numpy()


def test_the_features_of_the_penalty_are_those_of_the_seed(fresh_learner):
    one, same, other = (fresh_learner("bgpg", seed=seed) for seed in (1, 1, 2**32 + 1))
    assert np.array_equal(features_of(one), features_of(same))
    assert not np.isclose(features_of(one), features_of(other)).any()


def test_a_run_keeps_the_features_that_it_began_with(fresh_learner, batch_of):
    """Checkpoints of runs that shared one constant name no seed of features."""
    one, other = fresh_learner("bgpg", seed=1), fresh_learner("bgpg", seed=2)
    other.restore(one.state())
    assert np.array_equal(features_of(one), features_of(other))

    old = one.state()
    del old["penalty_seed"]
    other.update(batch_of(other), 1, LR)  # compiled with features that it is then to lose
    for learner in (one, other):
        learner.restore(old)
    constant = RandomFeatures.sample(2, one.config.num_features, one.config.bandwidth, 20210)
    assert np.array_equal(features_of(one), constant.omega.numpy())
    other.seed = one.seed
    batch = batch_of(one)
    assert one.update(batch, 2, LR) == other.update(batch, 2, LR)
    assert one.state()["penalty_seed"] == other.state()["penalty_seed"] == 20210


def test_noise_has_the_distribution_that_its_policy_needs(fresh_learner):
    assert fresh_learner("pg").draw(1).noise.size == 0
    continuous = fresh_learner("wnpg", nsteps=1024).draw(1).noise
    assert stats.kstest(continuous.ravel(), "norm").pvalue > 0.01
    discrete = fresh_learner("wnpg", actions=spaces.Discrete(3), nsteps=1024).draw(1).noise
    assert discrete.shape == (1024, 4, 3)
    assert stats.kstest(discrete.ravel(), "gumbel_r").pvalue > 0.01


def test_the_basis_is_never_larger_than_the_minibatch(fresh_learner):
    draws = fresh_learner("wnpg", num_basis=100, nminibatches=16).draw(1)
    assert draws.basis_samples.shape == (32, 4)


# ---- steps ----------------------------------------------------------------------------------------------------------


def test_the_step_is_clipped_to_the_norm_asked_for(fresh_learner, batch_of):
    lengths = []
    for limit in (0.0, 1e-3):
        learner = fresh_learner("pg", max_grad_norm=limit, **WHOLE_BATCH)
        start = learner.theta.numpy()
        report = learner.update(batch_of(learner), 1, 1.0, fused=False)
        lengths.append(np.linalg.norm(moved(learner, start)))
    assert lengths[0] == pytest.approx(report["loss/grad_norm"], rel=1e-4)
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)


def test_natural_directions_are_clipped_after_preconditioning(fresh_learner, batch_of):
    learner = fresh_learner("npg", max_grad_norm=1e-3, **WHOLE_BATCH)
    start = learner.theta.numpy()
    learner.update(batch_of(learner), 1, 1.0, fused=False)
    assert np.linalg.norm(moved(learner, start)) == pytest.approx(1e-3, rel=1e-3)


def test_the_first_step_has_importance_ratio_one(fresh_learner, batch_of):
    learner = fresh_learner("pg", **WHOLE_BATCH)
    report = learner.update(batch_of(learner), 1, LR, fused=False)
    assert abs(report["loss/policy_loss"]) < 1e-5  # minus the mean of normalized advantages
    assert report["loss/approxkl"] < 1e-10
    assert report["loss/clipfrac"] == 0.0


def test_the_kl_coefficient_follows_the_divergence_after_the_update(compiled, batch_of):
    learner = compiled("ppo_kl")
    batch = batch_of(learner)
    for lr, factor in ((0.0, 0.5), (0.05, 2.0)):
        before = learner.penalty.coefficient
        report = learner.update(batch, 1, lr)
        kl = learner.distances(batch)["kl"]
        assert (kl > 0.015) == (factor == 2.0)
        assert learner.penalty.coefficient == objectives.adapted_kl_coef(before, kl, 0.01) == factor * before
        assert report["loss/kl_coef"] == learner.penalty.coefficient


def test_damping_is_judged_on_the_loss_of_the_same_minibatch(fresh_learner, batch_of):
    """ρ = 2 (𝓛_old - 𝓛_new) / -gᵀΔθ, the reduction ratio, from a step of one minibatch taken apart."""
    learner = fresh_learner("npg", damping="adaptive", max_grad_norm=0.0, **WHOLE_BATCH)
    batch, start = batch_of(learner), learner.theta.numpy()
    report = learner.update(batch, 1, 0.05, fused=False)
    step = moved(learner, start).astype(np.float64)

    def loss(theta: np.ndarray) -> float:
        weights = learner.policy.unflatten(tf.constant(theta, tf.float32))
        flat = learner.policy.pd_flat(weights, batch.observations).numpy().astype(np.float64)
        log_probs = stats.norm.logpdf(batch.actions, flat[:, :2], np.exp(flat[:, 2:])).sum(axis=1)
        advantages = (batch.advantages - batch.advantages.mean()) / batch.advantages.std()
        values = learner.policy.value(weights, batch.observations).numpy()
        squared = np.mean((values - batch.returns.astype(np.float64)) ** 2)
        return -np.mean(np.exp(log_probs - batch.log_probs) * advantages) + 0.25 * squared

    h = 1e-3
    slope = (loss(start + h * step) - loss(start - h * step)) / (2.0 * h)
    expected = 2.0 * (loss(start) - loss(start + step)) / -slope
    assert report["wng/reduction_ratio"] == pytest.approx(expected, rel=2e-2)
    assert 0.1 < expected < 1.99


@pytest.mark.parametrize(
    ("rule", "lr", "factor"),
    [
        ("fixed", 0.01, 1.0),
        ("fixed", 5.0, 1.0),
        ("adaptive", 0.01, 0.85),
        ("adaptive", 5.0, 1.0 / 0.85),
        ("original", 0.01, 0.85),
        ("original", 5.0, 1.0),
    ],
)
def test_rules_of_damping(rule, lr, factor, fresh_learner, batch_of):
    """A small step goes as predicted and ε shrinks, one far too large makes it grow; looked at every fifth step."""
    learner = fresh_learner("npg", damping=rule, epsilon=1e-3, max_grad_norm=0.0, **WHOLE_BATCH)
    learner.step.damping = learner.step.damping._replace(count=tf.constant(4))
    report = learner.update(batch_of(learner), 1, lr, fused=False)
    assert report["wng/epsilon"] == pytest.approx(1e-3 * factor, rel=1e-5)
    assert report["wng/epsilon"] == float(learner.step.damping.epsilon)


def test_optimizers_by_name():
    adam = make_optimizer("adam", 0.1)
    assert (type(adam).__name__, adam.epsilon, adam.beta_1, adam.beta_2) == ("Adam", 1e-5, 0.9, 0.999)
    assert make_optimizer("momentum", 0.1).momentum == 0.9
    assert make_optimizer("sgd", 0.1).momentum == 0.0
    with pytest.raises(ValueError, match="Unknown optimizer 'lion'"):
        make_optimizer("lion", 0.1)


def test_momentum_and_sgd_step_as_they_should(fresh_learner, batch_of):
    """Two equal gradients: SGD goes 2 g, momentum g + 1.9 g."""
    steps = {}
    for name in ("sgd", "momentum"):
        learner = fresh_learner("pg", nminibatches=1, noptepochs=2, optimizer=name, max_grad_norm=0.0)
        start = learner.theta.numpy()
        learner.update(batch_of(learner), 1, 1e-4, fused=False)
        steps[name] = moved(learner, start)
    np.testing.assert_allclose(steps["momentum"], 1.45 * steps["sgd"], rtol=2e-2, atol=1e-7)


# ---- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alg", "column", "value", "named"),
    [
        ("ppo", "advantages", np.nan, "loss/policy_loss"),
        ("ppo", "returns", np.inf, "loss/value_loss"),
        ("ppo", "observations", np.nan, "loss/policy_loss"),
        ("ppo_kl", "pd_flat", np.nan, "loss/kl"),
        ("bg_wnpg", "pd_flat", np.inf, "wng/wasserstein_estimate"),
        ("wnpg", "returns", 1e30, "loss/value_loss"),
    ],
)
def test_a_fault_is_named_and_leaves_everything_as_it_was(alg, column, value, named, compiled, batch_of):
    learner = compiled(alg)
    batch = batch_of(learner)
    learner.update(batch, 1, LR)
    before = learner.state()
    broken = np.array(getattr(batch, column))
    broken[40] = value
    with pytest.raises(NonFiniteError, match=f"Update 2 met a non-finite {named}: training stopped"):
        learner.update(batch._replace(**{column: broken}), 2, LR)
    np.testing.assert_equal(learner.state(), before)
    learner.update(batch, 2, LR)
    assert np.isfinite(learner.theta.numpy()).all()


@pytest.mark.parametrize(
    ("alg", "given"), [("wnpg", {}), ("wnpg", {"optimizer": "momentum"}), ("pg", {}), ("trpo", {}), ("ppo_kl", {})]
)
@pytest.mark.parametrize("place", ["run", "adapt"])
def test_an_update_that_is_broken_off_leaves_everything_as_it_was(alg, given, place, fresh_learner, batch_of, monkeypatch):
    learner = fresh_learner(alg, **given)
    batch = batch_of(learner)
    before = learner.state()
    if place == "run":
        applied = learner.optimizer.apply

        def second(*arguments):
            applied(*arguments)
            if int(learner.optimizer.iterations) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(learner.optimizer, "apply", second)
    else:

        def adapt(moved):
            raise KeyboardInterrupt

        monkeypatch.setattr(learner.penalty, "adapt", adapt)
    with pytest.raises(KeyboardInterrupt):
        learner.update(batch, 1, LR, fused=False)
    after = learner.state()
    after["optimizer"][1] = before["optimizer"][1]  # the learning rate, which every update sets
    np.testing.assert_equal(after, before)
    np.testing.assert_array_equal(learner.policy.get_flat(), before["theta"])


def test_a_step_that_overflows_is_a_fault(compiled, batch_of):
    learner = compiled("ppo")
    before = learner.theta.numpy()
    with pytest.raises(NonFiniteError, match="Update 1 met a non-finite"):
        learner.update(batch_of(learner), 1, 3e38)
    np.testing.assert_array_equal(learner.theta.numpy(), before)


def test_the_first_of_several_faults_is_named(fresh_learner):
    learner = fresh_learner("bg_wnpg")
    names = learner.step.stat_names

    def broken(*bad: str) -> str:
        return learner.step.fault(np.array([np.nan if name in bad else 1.0 for name in names]))

    assert broken("loss/policy_loss", "loss/grad_norm") == "loss/policy_loss"
    assert broken("loss/grad_norm", "wng/wasserstein_estimate", "wng/cosine") == "wng/wasserstein_estimate"
    assert broken("loss/grad_norm", "wng/cosine") == "gradient"
    assert broken("wng/cosine") == broken() == "natural gradient"
    assert fresh_learner("pg").step.fault(np.ones(6)) == "step"


def test_a_wasserstein_penalty_needs_continuous_actions(fresh_learner):
    with pytest.raises(UserError, match="discrete action space.*--penalty=none"):
        fresh_learner("bg_wnpg", actions=spaces.Discrete(3))


def test_embeddings_that_change_their_length_are_refused(fresh_learner, batch_of, monkeypatch):
    from wng_tf import embeddings

    monkeypatch.setattr(embeddings, "EMBEDDINGS", embeddings.EMBEDDINGS.copy())
    embeddings.register("growing")(lambda trajectory, length: np.zeros(sizes[0]))
    learner = fresh_learner("wnpg", embedding="growing", **WHOLE_BATCH)
    batch, sizes = batch_of(learner), [3]
    learner.update(batch, 1, LR, fused=False)
    sizes[0] = 4
    with pytest.raises(UserError, match="Embedding 'growing' must give vectors of the same length in every update"):
        learner.update(batch, 2, LR, fused=False)


# ---- state and distances --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["ppo_kl", "bg_wnpg"])
def test_a_restored_learner_continues_bit_for_bit(alg, compiled, batch_of):
    learner = compiled(alg)
    batch = batch_of(learner)
    learner.update(batch, 1, LR)
    saved = learner.state()
    learner.update(batch, 2, LR)
    expected = learner.state()
    assert not np.array_equal(expected["theta"], saved["theta"])
    learner.update(batch, 3, LR)
    learner.restore(saved)
    np.testing.assert_equal(learner.state(), saved)
    learner.update(batch, 2, LR)
    np.testing.assert_equal(learner.state(), expected)


def test_distances_are_closed_forms(compiled, batch_of):
    learner = compiled("pg")
    batch = batch_of(learner)
    assert learner.distances(batch) == pytest.approx({"kl": 0.0, "w2_squared": 0.0}, abs=1e-7)
    learner.update(batch, 1, 0.05)
    weights = learner.policy.unflatten(tf.constant(learner.theta.numpy()))
    new = learner.policy.pd_flat(weights, batch.observations).numpy().astype(np.float64)
    old = batch.pd_flat.astype(np.float64)
    mean, std, old_mean, old_std = new[:, :2], np.exp(new[:, 2:]), old[:, :2], np.exp(old[:, 2:])
    kl = np.log(std / old_std) + (old_std**2 + (mean - old_mean) ** 2) / (2.0 * std**2) - 0.5
    w2 = (mean - old_mean) ** 2 + (std - old_std) ** 2
    actual = learner.distances(batch)
    assert actual["kl"] == pytest.approx(kl.sum(axis=1).mean(), rel=1e-3)
    assert actual["w2_squared"] == pytest.approx(w2.sum(axis=1).mean(), rel=1e-3)


def test_discrete_policies_move_too(fresh_learner, aim_runner):
    learner = fresh_learner("pg", actions=spaces.Discrete(3), **WHOLE_BATCH)
    rng = np.random.default_rng(0)
    from baselines_compat.runner import Batch

    observations = rng.normal(size=(64, 3)).astype(np.float32)
    logits = np.asarray(learner.policy.actor(observations))
    actions = rng.integers(0, 3, 64).astype(np.int32)
    log_probs = tf.nn.log_softmax(logits).numpy()[np.arange(64), actions]
    floats = rng.normal(size=64).astype(np.float32)
    flags = np.zeros(64, bool)
    batch = Batch(
        observations,
        actions,
        floats,
        floats,
        floats,
        log_probs,
        logits,
        floats,
        floats,
        flags,
        flags,
        observations,
        64,
    )
    report = learner.update(batch, 1, LR, fused=False)
    assert report["loss/approxkl"] < 1e-10
    moved = learner.distances(batch)
    assert list(moved) == ["kl", "w2_squared"]
    assert min(moved.values()) > 0.0


# ---- learning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", SEVEN)
def test_policies_learn_to_aim(alg, compiled, aim_runner):
    """From -2.7 (mean 0, deviation 1) to above -0.5; a detached gradient stays, one of the wrong sign goes below -2.7."""
    learner = compiled(alg)
    runner = aim_runner(learner)
    returns = []
    for number in range(1, 61):
        batch, _ = runner.run(learner.theta.numpy())
        learner.update(batch, number, 0.02)
        returns.append(batch.raw_rewards.mean())
    assert np.mean(returns[:3]) < -1.5
    assert np.mean(returns[-10:]) > -0.5
