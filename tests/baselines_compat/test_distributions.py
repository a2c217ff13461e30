"""Distributions of actions against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces
from scipy import special, stats

from baselines_compat.distributions import (
    BernoulliPd,
    CategoricalPd,
    DiagGaussianPd,
    MultiCategoricalPd,
    make_pdtype,
)

RNG = np.random.default_rng(0)
MEAN, LOGSTD = RNG.normal(size=(6, 3)), RNG.normal(scale=0.5, size=(6, 3))
FLAT = np.concatenate([MEAN, LOGSTD], axis=1).astype(np.float32)
LOGITS = RNG.normal(scale=2.0, size=(6, 4)).astype(np.float32)
SEED = tf.constant([3, 4])


def test_gaussian_log_probabilities_and_entropy():
    pd = DiagGaussianPd(tf.constant(FLAT))
    x = RNG.normal(size=(6, 3)).astype(np.float32)
    expected = stats.norm.logpdf(x, MEAN, np.exp(LOGSTD)).sum(axis=1)
    np.testing.assert_allclose(pd.logp(tf.constant(x)), expected, rtol=1e-5)
    np.testing.assert_allclose(pd.neglogp(tf.constant(x)), -expected, rtol=1e-5)
    np.testing.assert_allclose(pd.entropy(), stats.norm.entropy(MEAN, np.exp(LOGSTD)).sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(pd.mode(), FLAT[:, :3])
    np.testing.assert_array_equal(pd.flatparam(), FLAT)


def test_gaussian_divergence_by_quadrature():
    """KL(p, q) = Σ_i ∫ p_i log(p_i / q_i), by Gauss-Hermite nodes, exact for the polynomial inside."""
    other = FLAT[::-1].copy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    expected = np.zeros(6)
    for n in range(6):
        for i in range(3):
            mean, std = FLAT[n, i], np.exp(FLAT[n, 3 + i])
            x = mean + std * nodes
            log_ratio = stats.norm.logpdf(x, mean, std) - stats.norm.logpdf(x, other[n, i], np.exp(other[n, 3 + i]))
            expected[n] += weights @ log_ratio / weights.sum()
    actual = DiagGaussianPd(tf.constant(FLAT)).kl(DiagGaussianPd(tf.constant(other)))
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_categorical_log_probabilities_entropy_and_divergence():
    pd, other = CategoricalPd(tf.constant(LOGITS)), CategoricalPd(tf.constant(LOGITS[::-1].copy()))
    p = special.softmax(LOGITS.astype(np.float64), axis=1)
    x = np.array([0, 1, 2, 3, 0, 1])
    np.testing.assert_allclose(pd.logp(tf.constant(x, tf.int32)), np.log(p[np.arange(6), x]), rtol=1e-5)
    np.testing.assert_allclose(pd.logp(tf.constant(x, tf.float32)), np.log(p[np.arange(6), x]), rtol=1e-5)
    np.testing.assert_allclose(pd.entropy(), stats.entropy(p, axis=1), rtol=1e-5)
    np.testing.assert_allclose(pd.kl(other), stats.entropy(p, p[::-1], axis=1), rtol=1e-4)
    np.testing.assert_array_equal(pd.mode(), LOGITS.argmax(axis=1))


def test_samples_follow_the_distribution():
    many = tf.tile(tf.constant(FLAT[:1]), [4_000, 1])
    sample = DiagGaussianPd(many).sample(SEED).numpy()
    for column in ((sample - FLAT[0, :3]) / np.exp(FLAT[0, 3:])).T:
        assert stats.kstest(column, "norm").pvalue > 0.01
    many = tf.tile(tf.constant(LOGITS[:1]), [20_000, 1])
    chosen = CategoricalPd(many).sample(SEED)
    assert chosen.dtype == tf.int32
    expected = special.softmax(LOGITS[0].astype(np.float64)) * 20_000
    assert stats.chisquare(np.bincount(chosen.numpy(), minlength=4), expected).pvalue > 0.01


def test_the_same_seed_gives_the_same_sample():
    pd = DiagGaussianPd(tf.constant(FLAT))
    np.testing.assert_array_equal(pd.sample(SEED), pd.sample(SEED))
    assert not np.array_equal(pd.sample(SEED), pd.sample(tf.constant([3, 5])))


def test_the_score_sees_the_parameters_and_not_the_sample():
    """∂ log q(x)/∂μ = (x - μ)/σ², also for x sampled from the same distribution."""
    flat = tf.Variable(FLAT)
    with tf.GradientTape() as tape:
        pd = DiagGaussianPd(flat)
        x = pd.sample(SEED)
        total = tf.reduce_sum(pd.logp(x))
    gradient = tape.gradient(total, flat).numpy()
    z = (x.numpy() - FLAT[:, :3]) / np.exp(FLAT[:, 3:])
    np.testing.assert_allclose(gradient[:, :3], z / np.exp(FLAT[:, 3:]), rtol=1e-4)
    np.testing.assert_allclose(gradient[:, 3:], z**2 - 1.0, rtol=1e-4, atol=1e-5)


def test_reparameterised_samples_carry_gradients():
    flat = tf.Variable(FLAT)
    noise = RNG.normal(size=(6, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(DiagGaussianPd(flat).reparameterise(tf.constant(noise)))
    gradient = tape.gradient(total, flat).numpy()
    np.testing.assert_allclose(gradient[:, :3], 1.0)
    np.testing.assert_allclose(gradient[:, 3:], np.exp(FLAT[:, 3:]) * noise, rtol=1e-5)


def test_types_by_action_space():
    box = make_pdtype(spaces.Box(-1.0, 1.0, (3,)))
    assert (box.param_shape(), box.sample_shape(), box.sample_dtype()) == ([6], [3], tf.float32)
    assert isinstance(box.pdfromflat(tf.constant(FLAT)), DiagGaussianPd)
    discrete = make_pdtype(spaces.Discrete(4))
    assert (discrete.param_shape(), discrete.sample_shape(), discrete.sample_dtype()) == ([4], [], tf.int32)
    assert isinstance(discrete.pdfromflat(tf.constant(LOGITS)), CategoricalPd)

    several = make_pdtype(spaces.MultiDiscrete([[2, 3]]))
    assert (several.param_shape(), several.sample_shape(), several.sample_dtype()) == ([5], [2], tf.int32)
    switches = make_pdtype(spaces.MultiBinary((2, 2)))
    assert (switches.param_shape(), switches.sample_shape(), switches.sample_dtype()) == ([4], [4], tf.int32)
    assert make_pdtype(spaces.Box(-1.0, 1.0, (2, 2))).param_shape() == [8]


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Dict(a=spaces.Discrete(2)), spaces.Tuple([spaces.Discrete(2)])])
def test_other_action_spaces_are_refused(space):
    with pytest.raises(ValueError, match="must be a Box, Discrete, MultiDiscrete or MultiBinary"):
        make_pdtype(space)


CHOICES = (2, 3, 3, 2)


def parts_of(flat):
    return np.split(np.asarray(flat), np.cumsum(CHOICES)[:-1], axis=1)


def test_several_choices_are_a_product_of_categoricals():
    flat, other = RNG.normal(size=(2, 6, sum(CHOICES)))
    x = np.stack([RNG.integers(0, count, 6) for count in CHOICES], axis=1)
    pd, second = (MultiCategoricalPd(CHOICES, tf.constant(values)) for values in (flat, other))
    ps, qs = ([special.softmax(part, axis=1) for part in parts_of(values)] for values in (flat, other))
    logp = sum(np.log(p[np.arange(6), x[:, i]]) for i, p in enumerate(ps))
    np.testing.assert_allclose(pd.logp(tf.constant(x, tf.float32)), logp, rtol=1e-10)
    np.testing.assert_allclose(pd.entropy(), sum(stats.entropy(p, axis=1) for p in ps), rtol=1e-10)
    np.testing.assert_allclose(
        pd.kl(second), sum(stats.entropy(p, q, axis=1) for p, q in zip(ps, qs, strict=True)), rtol=1e-9
    )
    np.testing.assert_array_equal(pd.mode(), np.stack([p.argmax(axis=1) for p in ps], axis=1))


def test_switches_are_a_product_of_bernoullis():
    flat, other = RNG.normal(scale=2.0, size=(2, 6, 3))
    x = RNG.integers(0, 2, (6, 3))
    pd, second = BernoulliPd(tf.constant(flat)), BernoulliPd(tf.constant(other))
    p, q = special.expit(flat), special.expit(other)
    np.testing.assert_allclose(pd.logp(tf.constant(x, tf.float32)), stats.bernoulli.logpmf(x, p).sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(pd.entropy(), stats.bernoulli.entropy(p).sum(axis=1), rtol=1e-6)
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    np.testing.assert_allclose(pd.kl(second), kl.sum(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(pd.mode(), p > 0.5)


def test_samples_of_products_follow_them():
    flat = np.tile(RNG.normal(size=(1, sum(CHOICES))), [20_000, 1])
    drawn = MultiCategoricalPd(CHOICES, tf.constant(flat)).sample(SEED).numpy()
    for i, logits in enumerate(parts_of(flat[:1])):
        expected = special.softmax(logits[0]) * len(drawn)
        assert stats.chisquare(np.bincount(drawn[:, i], minlength=CHOICES[i]), expected).pvalue > 0.01
    bits = BernoulliPd(tf.constant(flat[:, :2])).sample(SEED).numpy()
    for i in range(2):
        assert stats.binomtest(int(bits[:, i].sum()), len(bits), special.expit(flat[0, i])).pvalue > 0.01


@pytest.mark.parametrize("shape", [(6, 3), (6,), (4, 6), (6, 4, 1), (1, 4)])
def test_actions_of_products_that_do_not_fit_are_refused(shape):
    pds = MultiCategoricalPd(CHOICES, tf.zeros([6, sum(CHOICES)])), BernoulliPd(tf.zeros([6, 4]))
    for pd in pds:
        with pytest.raises(ValueError, match=r"do not fit distributions that take \[6, 4\]"):
            pd.logp(tf.zeros(shape, tf.int32))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (6, 1), (6,), (1, 6, 3), (6, 3, 1), (5, 3), ()])
def test_gaussian_actions_that_do_not_fit_are_refused(shape):
    pd = DiagGaussianPd(tf.constant(FLAT))
    for call in (pd.logp, pd.neglogp, pd.reparameterise):
        with pytest.raises(ValueError, match=r"do not fit distributions that take \[6, 3\]"):
            call(tf.zeros(shape))


@pytest.mark.parametrize("shape", [(6, 1), (1,), (), (6, 4), (5,), (1, 6)])
def test_categorical_actions_that_do_not_fit_are_refused(shape):
    pd = CategoricalPd(tf.constant(LOGITS))
    for call in (pd.logp, pd.neglogp):
        with pytest.raises(ValueError, match=r"do not fit distributions that take \[6\]"):
            call(tf.zeros(shape, tf.int32))


def test_divergences_of_other_numbers_of_distributions_are_refused():
    for kind, flat in ((DiagGaussianPd, FLAT), (CategoricalPd, LOGITS)):
        with pytest.raises(ValueError, match="do not fit"):
            kind(tf.constant(flat)).kl(kind(tf.constant(flat[:1])))


@pytest.mark.parametrize("rows", [1, 5])
def test_shapes_known_only_when_a_graph_runs_are_checked_then(rows):
    signature = [tf.TensorSpec([None, 6]), tf.TensorSpec([None, 3])]
    logp = tf.function(lambda flat, x: DiagGaussianPd(flat).logp(x), input_signature=signature)
    assert logp(tf.constant(FLAT), tf.zeros([6, 3])).shape == [6]
    with pytest.raises(tf.errors.InvalidArgumentError, match="do not have the shape"):
        logp(tf.constant(FLAT), tf.zeros([rows, 3]))
    with pytest.raises(ValueError, match="do not fit"):
        tf.function(lambda flat, x: DiagGaussianPd(flat).logp(x), input_signature=[signature[0], tf.TensorSpec([None, 1])])(
            tf.constant(FLAT), tf.zeros([6, 1])
        )
