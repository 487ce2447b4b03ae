"""The optimizers, and their state between steps."""

import copy
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Solver:
    """What a tape needs for the parameter update: the rule and its constants.

    Attributes
    ----------
    rule : str
        Name of an update rule.
    a, b : float
        Decay rates (or the momentum).
    epsilon : float
        Keeps the rule from dividing by zero.
    l2, l1 : float
        Penalties, divided by the sum of the batch's weights.
    decay : float
        Decoupled weight decay.
    clip_value, clip_norm : float or None
        Maximum absolute value of the gradient's elements, and maximum norm of the gradient.
    average : bool
        Whether the parameters are averaged over the steps.
    """

    rule: str
    a: float = 0.0
    b: float = 0.0
    epsilon: float = 1e-8
    l2: float = 0.0
    l1: float = 0.0
    decay: float = 0.0
    clip_value: float | None = None
    clip_norm: float | None = None
    average: bool = False

    @property
    def n_states(self):
        """Number of state arrays: the rule's own, followed by the average if there is one."""
        return _STATES[self.rule] + self.average


#: By solver: its rule, number of states, and the parameters that are its decay rates. Sources:
#: adam Kingma and Ba 2014; adamw Loshchilov and Hutter 2017; nadam Dozat 2016; rmsprop Tieleman and
#: Hinton 2012; adagrad Duchi et al. 2011; adadelta Zeiler 2012. Where variants exist,
#: PyTorch's is used; sgd and adam are as in scikit-learn.
SOLVERS = {
    "sgd": ("sgd", 1, ("momentum", None)),
    "adam": ("adam", 2, ("beta_1", "beta_2")),
    "adamw": ("adamw", 2, ("beta_1", "beta_2")),
    "nadam": ("nadam", 2, ("beta_1", "beta_2")),
    "rmsprop": ("rmsprop", 1, (None, "beta_2")),
    "adagrad": ("adagrad", 1, (None, None)),
    "adadelta": ("adadelta", 2, ("beta_1", None)),
}
#: Number of states, by rule.
_STATES = {rule: n for rule, n, _ in SOLVERS.values()} | {"nesterov": 1}
#: Solvers whose rates include the bias correction of their averages.
_CORRECTED = ("adam", "adamw", "nadam")
#: Number of values that a rule gets for each step.
_RATES = 3


def _cosine(step, steps, warmup):
    """Rise linearly, then decay along half a cosine (Loshchilov and Hutter 2016, no restarts)."""
    rising = round(warmup * steps)
    fallen = np.maximum(step - rising, 0) / max(steps - rising, 1)
    return np.where(step < rising, (step + 1) / (rising + 1), _half_cosine(1.0, 0.0, fallen))


def _one_cycle(step, steps, warmup):
    """Rise from 1/25, fall to 1/250,000, both along half a cosine (Smith and Topin 2017).

    Like PyTorch's OneCycleLR with its defaults: the last step of each phase has its final rate.
    """
    peak = warmup * steps - 1
    risen = step / peak if peak > 0 else np.ones_like(step)
    fallen = (step - peak) / (steps - 1 - peak)
    up, down = _half_cosine(1 / 25, 1.0, risen), _half_cosine(1.0, 1 / 25e4, fallen)
    return np.where(step <= peak, up, down)


def _half_cosine(start, end, part):
    """Interpolate from `start` to `end` along half a cosine; `part` goes from 0 to 1."""
    return end + (start - end) * (1 + np.cos(np.pi * np.clip(part, 0.0, 1.0))) / 2


def _coslog4(step, steps, warmup):
    """Four waves, each about twice as long as the one before (Holzmueller et al. 2024)."""
    waves = (1 - np.cos(2 * np.pi * np.log2(1 + 15 * np.minimum(step / max(steps, 1), 1)))) / 2
    # not zero: the velocities of 'sgd' contain the rate of their step
    return np.maximum(waves, 1e-12)


#: Schedules over all planned steps of a fit: functions of the step index, the number of steps and
#: the warmup fraction that return the rate relative to its maximum; and the default fraction.
SCHEDULES = {"cosine": (_cosine, 0.0), "one_cycle": (_one_cycle, 0.3), "coslog4": (_coslog4, 0.0)}


def _flat_cos(step, steps):
    """Stay constant for half of the steps, then decay along half a cosine."""
    return _half_cosine(1.0, 0.0, 2 * step / max(steps, 1) - 1)


#: Schedules of weight decay and of dropout: functions of the step index and the number of steps
#: that return a factor.
FACTORS = {"constant": None, "flat_cos": _flat_cos}

#: Schedules that only 'sgd' follows, as in scikit-learn.
_OF_SGD = ("invscaling", "adaptive")
#: Minimum of the rate with 'plateau', relative to the initial rate.
_LEAST = 1e-6

#: Decay of the averages with ``average=True``.
_DECAY = 0.999


def _shares(average, t):
    """Return the weight of the new parameters in the average at the steps `t`, counted from 1.

    At first the average covers roughly the last tenth of all steps, so that the initial weights are
    soon forgotten; later it is exponential.
    """
    decay = _DECAY if isinstance(average, (bool, np.bool_)) else average
    return np.maximum(1 - decay, 9 / (t + 8))


def solvers_for(schedule):
    """Return the names of the solvers that support a learning rate schedule."""
    return ["sgd"] if schedule in _OF_SGD else list(SOLVERS)


def make_solver(recipe):
    """Return the Solver that a recipe describes."""
    rule, _, decays = SOLVERS[recipe.solver]
    if rule == "sgd" and recipe.nesterovs_momentum:
        rule = "nesterov"
    a, b = (float(getattr(recipe, name)) if name else 0.0 for name in decays)
    decoupled = recipe.solver == "adamw"
    return Solver(
        rule,
        a,
        b,
        epsilon=float(recipe.epsilon),
        l2=0.0 if decoupled else float(recipe.alpha),
        l1=float(recipe.l1),
        decay=float(recipe.alpha) if decoupled else 0.0,
        clip_value=recipe.clip_value,
        clip_norm=recipe.clip_norm,
        average=bool(recipe.average),
    )


class Optimizer:
    """The state of a stochastic solver between steps.

    Attributes
    ----------
    learning_rate : float
        The current learning rate; for 'adam', including the bias correction.
    rate : float
        The learning rate of the last step, without bias correction.
    lowered : float
        The current factor of the initial rate with 'plateau'.
    best : float
        Minimum of the quantity that 'plateau' monitors.
    stalled : int
        Number of epochs since that minimum or since the rate was last lowered.
    t : int
        Number of steps taken.
    planned : int
        Total number of steps of the fit, for schedules.
    states : list of list of ndarray
        Velocities or moments, each with the shapes of the network's parameters.
    """

    # Defaults for older pickles.
    rate = None
    lowered, best, stalled = 1.0, np.inf, 0

    def __init__(self, recipe, values):
        self.solver = recipe.solver
        self.learning_rate = float(recipe.learning_rate_init)
        self.t = self.planned = 0
        n_states = SOLVERS[self.solver][1]
        self.states = [[np.zeros(v.shape, v.dtype) for v in values] for _ in range(n_states)]
        self._momentum_product = 1.0

    def copy(self):
        """Return an independent copy; arrays are shared: they are never modified."""
        return copy.copy(self)

    def matches(self, recipe, values):
        """Return whether a partial fit of these parameters can continue with this state."""
        shapes = [[a.shape for a in arrays] for arrays in (self.states[0], values)]
        return self.solver == recipe.solver and shapes[0] == shapes[1]

    def rates(self, recipe, n_steps, passes=1):
        """Return the values that each of the next steps needs, and count them.

        `passes` is how many equal passes over the data they are. Three columns for the rule,
        computed in float64 as in scikit-learn and PyTorch; with averaging, one more for that; and
        behind its place, one for dropout if that follows a schedule.
        """
        t = np.arange(self.t + 1, self.t + n_steps + 1, dtype=np.float64)
        self.t += n_steps
        columns = [self._rule_rates(recipe, t, passes)]
        dropout = self._factors(recipe.dropout_schedule, t)
        if recipe.average or dropout is not None:
            columns.append(_shares(recipe.average, t))
        if dropout is not None:
            columns.append(dropout)
        return np.column_stack(columns)

    def go_back(self, earlier):
        """Take back the steps that have been counted since an earlier copy was made."""
        for name in ("t", "rate", "learning_rate", "_momentum_product"):
            setattr(self, name, getattr(earlier, name))

    def _scheduled(self, recipe, t):
        """Return the rates that a schedule over all steps has at the steps `t`."""
        schedule, warmup = SCHEDULES[recipe.learning_rate]
        warmup = warmup if recipe.warmup is None else recipe.warmup
        step = np.maximum(t - 1, 0)
        return recipe.learning_rate_init * schedule(step, self.planned, warmup)

    def _factors(self, schedule, t):
        """Return the factors at the steps `t` of what follows a schedule, or None: it does not."""
        factor = FACTORS[schedule]
        return None if factor is None else factor(t - 1, self.planned)

    def nominal(self, recipe, t):
        """Return the learning rates at the steps `t`, before corrections by the rule."""
        if recipe.learning_rate in SCHEDULES:
            return self._scheduled(recipe, t)
        rate = recipe.learning_rate_init if self.solver in _CORRECTED else self.learning_rate
        return np.full(len(t), rate * (self.lowered if recipe.learning_rate == "plateau" else 1.0))

    def _rule_rates(self, recipe, t, passes):
        columns, last = np.zeros((len(t), _RATES)), self.rate
        columns[:, 0] = rate = self.nominal(recipe, t)
        self.rate = float(rate[-1])
        if self.solver == "sgd":
            # Velocities include the rate of their step. They are rescaled when it changes, which
            # gives PyTorch's momentum; scikit-learn's own schedules do not rescale them.
            columns[:, 1] = 1.0
            if recipe.learning_rate in SCHEDULES:
                before = self._scheduled(recipe, t - 1)
                np.divide(rate, before, out=columns[:, 1], where=before > 0)
            elif recipe.learning_rate == "plateau" and last:
                columns[0, 1] = rate[0] / last
        if self.solver not in _CORRECTED:
            return columns
        first, second = 1 - recipe.beta_1**t, 1 - recipe.beta_2**t
        if self.solver == "adam":
            columns[:, 0] = rate * np.sqrt(second) / first
            self.learning_rate = float(columns[-1, 0])
        elif self.solver == "adamw":
            columns[:, 1], columns[:, 2] = rate / first, 1 / np.sqrt(second)
            decay = self._factors(recipe.alpha_schedule, t)
            if decay is not None:
                columns[:, 0] *= decay
        elif self.solver == "nadam":
            momentum, following = (
                recipe.beta_1 * (1 - 0.5 * 0.96 ** (s * 0.004)) for s in (t, t + 1)
            )
            # by pass, so that bits do not depend on how many are asked for at once
            product = np.cumprod(momentum.reshape(passes, -1), axis=1)
            for one in product:
                one *= self._momentum_product
                self._momentum_product = float(one[-1])
            product = product.ravel()
            columns[:, 0] = rate * (1 - momentum) / (1 - product)
            columns[:, 1] = rate * following / (1 - product * following)
            columns[:, 2] = 1 / np.sqrt(second)
        return columns

    def epoch_ends(self, recipe, samples_seen, to_lower, say):
        """Update schedules that change per epoch; `to_lower` is what 'plateau' monitors.

        ``say(message)`` is called with what verbose output says.
        """
        if recipe.learning_rate == "plateau":
            self._lower_on_plateau(recipe, to_lower, say)
        if self.solver == "sgd" and recipe.learning_rate == "invscaling":
            start = float(recipe.learning_rate_init)
            try:
                self.learning_rate = start / (samples_seen + 1) ** recipe.power_t
            except OverflowError:
                self.learning_rate = 0.0

    def _lower_on_plateau(self, recipe, to_lower, say):
        """Lower the rate after enough epochs without improvement, like ReduceLROnPlateau."""
        self.stalled += 1
        if to_lower < self.best - recipe.tol:
            self.best, self.stalled = to_lower, 0
        if self.stalled < recipe.plateau_patience:
            return
        self.stalled = 0
        lowered = max(self.lowered * recipe.plateau_factor, _LEAST)
        if lowered < self.lowered:
            rate = recipe.learning_rate_init * lowered
            say(f"No improvement by tol={recipe.tol:f}. Setting learning rate to {rate:g}")
        self.lowered = lowered

    def stops(self, recipe, message, say):
        """Return whether training stops without improvement; 'adaptive' first lowers the rate."""
        adaptive = self.solver == "sgd" and recipe.learning_rate == "adaptive"
        stop = not adaptive or self.learning_rate <= 1e-6
        if not adaptive:
            message += " Stopping."
        elif stop:
            message += " Learning rate too small. Stopping."
        else:
            self.learning_rate /= 5.0
            message += f" Setting learning rate to {self.learning_rate:f}"
        say(message)
        return stop
