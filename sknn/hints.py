"""Hints for misspelled names, and for the names that other libraries use."""

import difflib
import inspect
import re

#: Names of parameters, arguments and methods, and their names in other libraries.
_NAMES = {
    "n_components": "latent_dim latent_size code_size n_latent",
    "max_iter": "epochs n_epochs nb_epoch num_epochs max_epochs iterations n_iter",
    "hidden_layer_sizes": """units hidden_layers layers hidden_size hidden_sizes hidden_units
        n_hidden hidden_dim layer_sizes neurons latent_dim code_size""",
    "hidden_size": """units hidden_layer_sizes hidden_layers hidden_units n_hidden hidden_dim
        neurons latent_dim code_size""",
    "n_centers": "units hidden_layer_sizes hidden_size n_hidden n_kernels n_clusters",
    "layers": "hidden_layer_sizes architecture model",
    "n_layers": "num_layers layers",
    "cell": "rnn_type cell_type unit",
    "embedding": "embedding_dim embedding_size",
    "seq_len": "sequence_length window block_size",
    "order": "n ngram k",
    "function": "kernel basis rbf",
    "activation": "nonlinearity act hidden_activation",
    "output_activation": "out_activation final_activation",
    "learning_rate_init": "lr eta eta0 step_size learning_rate",
    "learning_rate": "lr_scheduler scheduler schedule lr_schedule",
    "solver": "optimizer optim algorithm",
    "loss": "criterion objective loss_fn loss_function",
    "alpha": "weight_decay l2 l2_reg reg_lambda kernel_regularizer",
    "initializer": "kernel_initializer weight_init init initialization",
    "batch_size": "batch bs minibatch mini_batch_size",
    "random_state": "seed random_seed rng",
    "quantile": "quantiles tau",
    "label_smoothing": "smoothing label_smooth ls_eps",
    "validation_fraction": "validation_split val_split val_fraction test_size",
    "n_iter_no_change": "patience early_stopping_rounds",
    "tol": "min_delta",
    "scoring": "metric metrics monitor eval_metric",
    "plateau_factor": "factor",
    "plateau_patience": "lr_patience",
    "momentum": "mu",
    "nesterovs_momentum": "nesterov",
    "beta_1": "betas rho",
    "epsilon": "eps",
    "clip_norm": "max_grad_norm gradient_clip_val grad_clip",
    "average": "ema use_ema swa",
    "dropout": "dropout_rate drop_rate",
    "dropout_schedule": "p_drop_sched drop_rate_schedule",
    "alpha_schedule": "weight_decay_schedule wd_schedule wd_sched",
    "kernel_rate": "lr_factor lr_mult lr_multiplier learning_rate_multiplier",
    "batch_norm": "use_batch_norm batch_normalization",
    "image_shape": "input_shape input_size image_size",
    "augmentation": "data_augmentation transform transforms",
    "n_jobs": "workers num_workers n_threads num_threads",
    "device": "gpu use_gpu cuda",
    "dtype": "precision",
    "X_val": "validation_data val_data eval_set X_valid X_validation X_test",
    "y_val": "y_valid y_validation y_test",
    "sample_weight": "sample_weights weights",
    "n_chars": "length max_length max_new_tokens",
    "units": "out_features size hidden_size",
    "filters": "out_channels channels n_filters",
    "kernel_size": "kernel window",
    "pool_size": "kernel_size",
    "strides": "stride",
    "dilation_rate": "dilation",
    "use_bias": "bias",
    "rate": "p",
    "kernel_l2": "l2 kernel_regularizer weight_decay",
    "set_callbacks": "callbacks callback",
}  # fmt: skip
#: Text shown instead of a name where the name alone would not help.
_SHOWN = {
    "X_val": "X_val and y_val",
    ("weight_decay", "alpha"): "alpha, with solver='adamw'",
    "set_callbacks": "the method set_callbacks",
}

#: Values that are names, and their names in other libraries.
_VALUES = {
    "logistic": "sigmoid",
    "identity": "linear none",
    "silu": "swish",
    "leaky_relu": "lrelu",
    "squared_error": "mse mse_loss mean_squared_error l2 l2_loss squared_loss",
    "absolute_error": "mae l1 l1_loss mean_absolute_error",
    "huber": "huber_loss smooth_l1 smooth_l1_loss",
    "log_loss": """cross_entropy cross_entropy_loss ce bce bce_loss bce_with_logits
        bce_with_logits_loss nll nll_loss binary_crossentropy categorical_crossentropy
        sparse_categorical_crossentropy binary_cross_entropy""",
    "poisson": "poisson_nll poisson_nll_loss",
    "quantile": "pinball",
    "sgd": "gd gradient_descent momentum nesterov",
    "lbfgs": "bfgs l_bfgs_b",
    "lstsq": "least_squares ols",
    "constant": "fixed",
    "plateau": "reduce_lr_on_plateau reduce_on_plateau",
    "cosine": "cosine_annealing cosine_annealing_lr cosine_decay",
    "one_cycle": "one_cycle_lr",
    "glorot_uniform": "glorot xavier xavier_uniform",
    "glorot_normal": "xavier_normal",
    "he_uniform": "he kaiming kaiming_uniform",
    "he_normal": "kaiming_normal",
    "lecun_uniform": "lecun",
    "normal": "gaussian random_normal",
    "uniform": "random_uniform",
    "data_dependent": "lsuv",
    "neural_tangent": "ntk ntp",
    "rnn": "simple_rnn elman",
    "gaussian": "rbf normal",
    "masking": "dropout",
    "classification": "classifier",
    "regression": "regressor",
    "float32": "single",
    "float64": "double float",
    "resnet18": "resnet",
    "vgg16": "vgg",
    "densenet121": "densenet",
    "googlenet": "inception",
    "Dense": "linear fully_connected",
    "BatchNormalization": "batch_norm batch_norm1d batch_norm2d",
    "SimpleRNN": "rnn",
    "GlobalAveragePooling2D": "adaptive_avg_pool2d",
    "AveragePooling2D": "avg_pool2d",
    "MaxPooling2D": "max_pool2d max_pool",
    "Conv2DTranspose": "conv_transpose2d",
    "UpSampling2D": "upsample",
    "LocalResponseNormalization": "local_response_norm lrn",
}


def _plain(word):
    """Return a word in lower case, without punctuation."""
    return re.sub("[^a-z0-9]", "", word.lower())


def _by_synonym(table):
    """Return the names used here, by the names that others use."""
    found = {}
    for name, others in table.items():
        for other in others.split():
            found.setdefault(_plain(other), []).append(name)
    return found


_NAMES, _VALUES = _by_synonym(_NAMES), _by_synonym(_VALUES)


def _same(word, names, synonyms):
    """Return the name that a word spells differently or is a synonym of, or None."""
    plain = {_plain(name): name for name in names}
    found = (plain.get(_plain(name)) for name in (word, *synonyms.get(_plain(word), ())))
    return next(filter(None, found), None)


def _near(word, names, synonyms):
    """Return the name that a word is close to, itself or by a synonym, or None."""
    known = {other: _same(other, names, synonyms) for other in synonyms}
    known |= {_plain(name): name for name in names}
    close = difflib.get_close_matches(_plain(word), [k for k in known if known[k]], 1, 0.75)
    return known[close[0]] if close else None


def value_meant(value, options):
    """Return the option that a value probably stands for, or None.

    The value may be a str, or a function, class or object with such a name.
    """
    if isinstance(value, str):
        return _same(value, options, _VALUES) or _near(value, options, _VALUES)
    if isinstance(value, (int, float, tuple, list, dict, type(None))):
        return None
    called = getattr(value, "__name__", type(value).__name__)
    words = called, str(value).rpartition(".")[2]  # the latter for str(torch.float32)
    return next(filter(None, (_same(word, options, _VALUES) for word in words)), None)


def hint(value, options):
    """Return "Did you mean ...?" with a leading space for a value, or ''."""
    meant = value_meant(value, options)
    return "" if meant is None else f" Did you mean {meant!r}?"


def name_hint(word, cls, method=None):
    """Return "Did you mean ...?" with a leading space for an unknown argument name, or ''.

    Parameters
    ----------
    word : str
    cls : type
        The estimator's class.
    method : callable or None
        The method that was called; None: the constructor.
    """
    parameters = arguments(cls)
    fit = arguments(getattr(cls, "fit", None))
    levels = [(parameters, ""), (fit, " of fit"), (["set_callbacks"], "")]
    if not hasattr(cls, "set_callbacks"):
        levels.pop()
    if method is not None:
        levels[0] = parameters, ", a parameter of the constructor"
        levels.insert(0, (arguments(method), ""))
    for find in (_same, _near):
        for names, where in levels:
            found = find(word, names, _NAMES)
            if found is not None:
                shown = _SHOWN.get((word, found)) or _SHOWN.get(found, found)
                return f" Did you mean {shown}{where}?"
    return ""


def arguments(function):
    """Return the names of a function's arguments, without `self`."""
    if function is None:
        return []
    kinds = inspect.Parameter
    named = kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY
    found = inspect.signature(function).parameters.values()
    return [one.name for one in found if one.kind in named and one.name != "self"]


def wrong_call(cls, method, signature, args, kwargs):
    """Return why the arguments do not fit a method (None: the constructor), or None if they do.

    `signature` is without `self`.
    """
    try:
        signature.bind(*args, **kwargs)
        return None
    except TypeError as error:
        why = str(error)
    called = f"{cls.__name__}()" if method is None else f"{cls.__name__}.{method.__name__}()"
    parameters = signature.parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return f"{called}: {why}"
    for word in kwargs:
        if word not in signature.parameters:
            more = name_hint(word, cls, method)
            return f"{called} got an unexpected keyword argument {word!r}.{more}"
    names = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(args) > len(names):
        listed = f" ({', '.join(names)})" if names else ""
        return (
            f"{called} takes {len(names)} positional arguments{listed}, but {len(args)} were "
            "given; pass the others by name."
        )
    return f"{called}: {why}"
