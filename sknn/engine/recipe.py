"""The training settings of the engine."""

from dataclasses import dataclass, fields

from .optimizers import SCHEDULES


@dataclass(frozen=True)
class Recipe:
    """The training settings; see the estimators' parameters of the same names.

    Once a fit has chosen the device, `device` is its name, not 'auto'. With `drop_last`, an epoch
    consists of whole batches, if there are any; the rows that are left are others in each epoch.
    With `latest_best`, early stopping keeps the latest of epochs with equal scores.
    """

    solver: str = "adam"
    alpha: float = 0.0
    alpha_schedule: str = "constant"
    l1: float = 0.0
    batch_size: int | str = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 1e-3
    warmup: float | None = None
    plateau_factor: float = 0.1
    plateau_patience: int = 5
    power_t: float = 0.5
    dropout_schedule: str = "constant"
    max_iter: int = 200
    shuffle: bool = True
    tol: float = 1e-4
    verbose: bool | int = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: int | float = 10
    max_fun: int = 15000
    clip_value: float | None = None
    clip_norm: float | None = None
    average: bool | float = False
    drop_last: bool = False
    latest_best: bool = False
    n_jobs: int | None = None
    device: str = "cpu"

    @property
    def spanning(self):
        """The name of a parameter that is a schedule over all steps of a fit, or None."""
        if self.learning_rate in SCHEDULES:
            return "learning_rate"
        if self.solver == "adamw" and self.alpha_schedule != "constant":
            return "alpha_schedule"
        return None if self.dropout_schedule == "constant" else "dropout_schedule"

    @classmethod
    def of(cls, parameters):
        """Return the recipe given by an object that has some of these settings as attributes."""
        names = [field.name for field in fields(cls) if hasattr(parameters, field.name)]
        return cls(**{name: getattr(parameters, name) for name in names})
