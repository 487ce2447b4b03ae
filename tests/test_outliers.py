"""Outliers by reconstruction, with any autoencoder."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import (
    AutoencoderTransformer,
    ConvAutoencoderTransformer,
    ReconstructionOutlierDetector,
    SequenceAutoencoderTransformer,
    VariationalAutoencoderTransformer,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DIGITS = (load_digits().data[:200] / 16).astype(np.float32)
NOISE = np.random.RandomState(0).uniform(size=(10, 64)).astype(np.float32)
BOTH = np.vstack([DIGITS, NOISE])
SMALL = {"max_iter": 3, "random_state": 0}
STEPS = list(BOTH.reshape(-1, 8, 8))
DATA = {
    "rows": (AutoencoderTransformer(5, **SMALL), BOTH),
    "sparse": (AutoencoderTransformer(5, **SMALL), sp.csr_array(BOTH)),
    "images": (ConvAutoencoderTransformer(**SMALL), BOTH.reshape(-1, 8, 8)),
    "variational": (VariationalAutoencoderTransformer(2, 5, **SMALL), BOTH),
    "sequences": (
        SequenceAutoencoderTransformer(4, "gru", **SMALL),
        [steps[: 3 + i % 6] for i, steps in enumerate(STEPS)],
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_with_every_autoencoder(name):
    net, X = DATA[name]
    detector = ReconstructionOutlierDetector(net).fit(X)
    assert not hasattr(net, "layers_") and detector.autoencoder_ is not net
    alone = clone(net).fit(X)
    scores = detector.score_samples(X)
    np.testing.assert_array_equal(scores, alone.score_samples(X))
    np.testing.assert_array_equal(detector.decision_function(X), scores - detector.offset_)
    expected = np.where(scores < detector.offset_, -1, 1)
    np.testing.assert_array_equal(detector.predict(X), expected)
    np.testing.assert_array_equal(clone(detector).fit_predict(X), expected)
    assert detector.n_features_in_ == alone.n_features_in_


def test_the_threshold_is_tukey_s_fence_of_distances():
    net = AutoencoderTransformer(8, random_state=0)
    detector = ReconstructionOutlierDetector(net).fit(BOTH)
    distances = np.sqrt(-detector.score_samples(BOTH))
    low, high = np.percentile(distances, [25, 75])
    np.testing.assert_allclose(detector.offset_, -((2.5 * high - 1.5 * low) ** 2))
    assert (detector.predict(NOISE) == -1).all()
    assert (detector.predict(DIGITS) == 1).mean() > 0.95
    # no sample is an outlier if all are the same
    alike = np.tile(DIGITS[:1], (20, 1))
    assert (clone(detector).fit_predict(alike) == 1).all()


def test_the_part_of_outliers_can_be_given():
    detector = ReconstructionOutlierDetector(AutoencoderTransformer(8, random_state=0), 0.1)
    assert (detector.fit_predict(BOTH) == -1).sum() == 21
    assert (detector.predict(NOISE) == -1).all()
    for wrong in (0, 0.51, "some", None):
        with pytest.raises(ValueError, match="'contamination' parameter"):
            clone(detector).set_params(contamination=wrong).fit(BOTH)


def test_one_that_is_fitted_stays_as_it_is():
    net = AutoencoderTransformer(8, **SMALL).fit(DIGITS)
    frozen = ReconstructionOutlierDetector(FrozenEstimator(net), 0.1).fit(BOTH)
    np.testing.assert_array_equal(frozen.score_samples(NOISE), net.score_samples(NOISE))
    assert frozen.offset_ == np.percentile(net.score_samples(BOTH), 10)
    assert frozen.n_features_in_ == 64
    with pytest.raises(NotFittedError):
        ReconstructionOutlierDetector(FrozenEstimator(clone(net))).fit(BOTH)


@pytest.mark.parametrize("width, units", [(1, 1), (5, 2), (64, 32), (90, 32)])
def test_without_an_autoencoder_the_code_is_smaller_than_a_sample(width, units):
    X = np.random.RandomState(0).normal(size=(40, width))
    for some in (X, X.tolist(), sp.csr_array(X)):
        detector = ReconstructionOutlierDetector().fit(some)
        assert detector.autoencoder_.hidden_layer_sizes == units


def test_in_a_pipeline_and_its_parameters():
    detector = ReconstructionOutlierDetector(AutoencoderTransformer(**SMALL))
    model = make_pipeline(StandardScaler(), detector)
    model.set_params(reconstructionoutlierdetector__autoencoder__hidden_layer_sizes=3)
    answers = model.fit_predict(BOTH)
    assert answers.shape == (210,) and set(answers) == {-1, 1}
    assert detector.autoencoder_.transform(BOTH).shape == (210, 3)
    assert clone(detector).autoencoder.hidden_layer_sizes == 3


def test_what_is_no_autoencoder():
    for wrong in (PCA(2), FrozenEstimator(PCA(2).fit(DIGITS)), AutoencoderTransformer):
        with pytest.raises((TypeError, ValueError), match="autoencoder"):
            ReconstructionOutlierDetector(wrong).fit(BOTH)
    detector = ReconstructionOutlierDetector(AutoencoderTransformer(3, **SMALL)).fit(BOTH)
    before = detector.predict(BOTH)
    with pytest.raises(ValueError, match="NaN"):
        detector.fit(np.full((9, 4), np.nan))
    np.testing.assert_array_equal(detector.predict(BOTH), before)
    with pytest.raises(NotFittedError):
        clone(detector).score_samples(BOTH)
