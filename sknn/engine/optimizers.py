"""The table of optimizers, and the state that one keeps between steps."""

import copy
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Solver:
    """What a tape has to know to end with an update: the rule and its constants.

    Attributes
    ----------
    rule : str
        A row of the engine's update rules.
    a, b : float
        Decay rates (or the momentum).
    epsilon : float
        Keeps a division from zero.
    l2, l1 : float
        Penalties, divided by the batch's sum of weights.
    decay : float
        Decoupled weight decay.
    clip_value, clip_norm : float or None
        Limits of the gradient's elements and of its norm.
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
        """Number of state arrays: the rule's own, and behind them the average if there is one."""
        return _STATES[self.rule] + self.average


#: Solver's name: the rule, its number of states, and which parameters its decay rates are. Sources:
#: adam Kingma and Ba 2014; adamw Loshchilov and Hutter 2017; nadam Dozat 2016; rmsprop Tieleman and
#: Hinton 2012; adagrad Duchi et al. 2011; adadelta Zeiler 2012. Where they leave room, PyTorch's
#: form is taken; sgd and adam are scikit-learn's.
SOLVERS = {
    "sgd": ("sgd", 1, ("momentum", None)),
    "adam": ("adam", 2, ("beta_1", "beta_2")),
    "adamw": ("adamw", 2, ("beta_1", "beta_2")),
    "nadam": ("nadam", 2, ("beta_1", "beta_2")),
    "rmsprop": ("rmsprop", 1, (None, "beta_2")),
    "adagrad": ("adagrad", 1, (None, None)),
    "adadelta": ("adadelta", 2, ("beta_1", None)),
}
#: By rule, how many states it has.
_STATES = {rule: n for rule, n, _ in SOLVERS.values()} | {"nesterov": 1}
#: The solvers that correct the bias of their averages by their rates.
_CORRECTED = ("adam", "adamw", "nadam")
#: How many numbers a rule gets anew for each step.
_RATES = 3


def _cosine(step, steps, warmup):
    """Rise linearly, then fall by half a cosine (Loshchilov and Hutter 2016, without restarts)."""
    rising = round(warmup * steps)
    fallen = np.maximum(step - rising, 0) / max(steps - rising, 1)
    return np.where(step < rising, (step + 1) / (rising + 1), _half_cosine(1.0, 0.0, fallen))


def _one_cycle(step, steps, warmup):
    """Rise from 1/25 and fall to 1/250,000, each by half a cosine (Smith and Topin 2017).

    As PyTorch's OneCycleLR with its defaults: the last step on either way has its final rate.
    """
    peak = warmup * steps - 1
    risen = step / peak if peak > 0 else np.ones_like(step)
    fallen = (step - peak) / (steps - 1 - peak)
    up, down = _half_cosine(1 / 25, 1.0, risen), _half_cosine(1.0, 1 / 25e4, fallen)
    return np.where(step <= peak, up, down)


def _half_cosine(start, end, part):
    """Go from one number to another: `part` of the way, by half a cosine."""
    return end + (start - end) * (1 + np.cos(np.pi * np.clip(part, 0.0, 1.0))) / 2


#: Schedules over all steps of a fit, whose number is planned: functions of the number of a step, of
#: how many there are, and of the part of them in which the rate rises, that give the rate's share
#: of the largest; and which part that is by default.
SCHEDULES = {"cosine": (_cosine, 0.0), "one_cycle": (_one_cycle, 0.3)}

#: Schedules that only 'sgd' follows, as in scikit-learn.
_OF_SGD = ("invscaling", "adaptive")
#: The part of the initial rate below which 'plateau' does not go.
_LEAST = 1e-6

#: The decay of averages with ``average=True``.
_DECAY = 0.999


def _shares(average, t):
    """Return which part of the average is new in the steps `t`, counted from 1.

    At first the average is over the last tenth of all steps or so, so that the first weights are
    soon forgotten; in the end it is exponential.
    """
    decay = _DECAY if isinstance(average, (bool, np.bool_)) else average
    return np.maximum(1 - decay, 9 / (t + 8))


def solvers_for(schedule):
    """Return the names of the solvers that follow a schedule of the rate."""
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
        The current one; that of 'adam' with the correction of the bias of its averages in it.
    rate : float
        That of the last step, without it.
    lowered : float
        What 'plateau' has made of the initial rate, as a part of it.
    best : float
        The least loss, or whatever else 'plateau' looks at, of the epochs that count.
    stalled : int
        How many epochs there have been since, or since the rate was last lowered.
    t : int
        Steps taken.
    planned : int
        The steps of a fit from its first to its last epoch, which schedules need.
    states : list of list of ndarray
        Velocities, or moments: each has the shapes of the network's parameters.
    """

    # What pickles of older versions do not have.
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
        """Return a copy that can go on by itself; the arrays are replaced, never changed."""
        return copy.copy(self)

    def matches(self, recipe, values):
        """Whether a partial fit of these parameters can go on with this state."""
        shapes = [[a.shape for a in arrays] for arrays in (self.states[0], values)]
        return self.solver == recipe.solver and shapes[0] == shapes[1]

    def rates(self, recipe, n_steps):
        """Return what the update needs in each of the next steps; count them.

        Three columns for the rule, computed as scikit-learn and PyTorch do, in float64; and where
        parameters are averaged, one for that.
        """
        t = np.arange(self.t + 1, self.t + n_steps + 1, dtype=np.float64)
        self.t += n_steps
        columns = self._rule_rates(recipe, t)
        if not recipe.average:
            return columns
        return np.column_stack([columns, _shares(recipe.average, t)])

    def _scheduled(self, recipe, t):
        """Return what a schedule over all steps makes of the initial rate in the steps `t`."""
        schedule, warmup = SCHEDULES[recipe.learning_rate]
        warmup = warmup if recipe.warmup is None else recipe.warmup
        step = np.maximum(t - 1, 0)
        return recipe.learning_rate_init * schedule(step, self.planned, warmup)

    def _nominal(self, recipe, t):
        """Return the rates of the steps `t`, before what a rule makes of them."""
        if recipe.learning_rate in SCHEDULES:
            return self._scheduled(recipe, t)
        rate = recipe.learning_rate_init if self.solver in _CORRECTED else self.learning_rate
        return np.full(len(t), rate * (self.lowered if recipe.learning_rate == "plateau" else 1.0))

    def _rule_rates(self, recipe, t):
        columns, last = np.zeros((len(t), _RATES)), self.rate
        columns[:, 0] = rate = self._nominal(recipe, t)
        self.rate = float(rate[-1])
        if self.solver == "sgd":
            # Velocities have the rate of their step in them, and change with it, so that the
            # momentum is PyTorch's; scikit-learn's own schedules leave them as they are.
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
        elif self.solver == "nadam":
            momentum, following = (
                recipe.beta_1 * (1 - 0.5 * 0.96 ** (s * 0.004)) for s in (t, t + 1)
            )
            product = self._momentum_product * np.cumprod(momentum)
            self._momentum_product = float(product[-1])
            columns[:, 0] = rate * (1 - momentum) / (1 - product)
            columns[:, 1] = rate * following / (1 - product * following)
            columns[:, 2] = 1 / np.sqrt(second)
        return columns

    def epoch_ends(self, recipe, samples_seen, to_lower):
        """Follow the schedules that go by the epoch; `to_lower` is what 'plateau' looks at."""
        if recipe.learning_rate == "plateau":
            self._lower_on_plateau(recipe, to_lower)
        if self.solver == "sgd" and recipe.learning_rate == "invscaling":
            start = float(recipe.learning_rate_init)
            try:
                self.learning_rate = start / (samples_seen + 1) ** recipe.power_t
            except OverflowError:
                self.learning_rate = 0.0

    def _lower_on_plateau(self, recipe, to_lower):
        """Lower the rate after enough epochs without improvement, as ReduceLROnPlateau does."""
        self.stalled += 1
        if to_lower < self.best - recipe.tol:
            self.best, self.stalled = to_lower, 0
        if self.stalled < recipe.plateau_patience:
            return
        self.stalled = 0
        lowered = max(self.lowered * recipe.plateau_factor, _LEAST)
        if lowered < self.lowered and recipe.verbose:
            rate = recipe.learning_rate_init * lowered
            print(f"No improvement by tol={recipe.tol:f}. Setting learning rate to {rate:g}")
        self.lowered = lowered

    def stops(self, recipe, message):
        """Whether training ends when it no longer improves; 'adaptive' first lowers the rate."""
        adaptive = self.solver == "sgd" and recipe.learning_rate == "adaptive"
        stop = not adaptive or self.learning_rate <= 1e-6
        if not adaptive:
            message += " Stopping."
        elif stop:
            message += " Learning rate too small. Stopping."
        else:
            self.learning_rate /= 5.0
            message += f" Setting learning rate to {self.learning_rate:f}"
        if recipe.verbose:
            print(message)
        return stop
