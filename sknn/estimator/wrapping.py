"""What estimators share that hold another estimator."""

from sklearn.frozen import FrozenEstimator


def thawed(net):
    """Return the estimator in scikit-learn's FrozenEstimator, or the estimator itself."""
    return net.estimator if isinstance(net, FrozenEstimator) else net


def take_features(estimator, net):
    """Give an estimator what the fitted one that it holds knows of the features."""
    for name in ("n_features_in_", "feature_names_in_"):
        vars(estimator).pop(name, None)
        if hasattr(net, name):
            setattr(estimator, name, getattr(net, name))
