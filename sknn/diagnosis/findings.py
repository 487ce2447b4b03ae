"""What looks wrong in a diagnosis, and what to try."""

import numpy as np

#: The share of a layer's units from which it is worth saying so. Of dead units, healthy networks
#: have more: "as much as 40%" are a sign of a rate that is too high (A. Karpathy, CS231n, "Neural
#: Networks Part 1"). Radial units are wanted near samples, all of them.
_MANY, _MANY_DEAD = 0.1, 0.4
#: Relative sizes of a step beyond which it is too large, or too small. Rule of thumb: 1e-3.
_LARGE, _SMALL = 3e-2, 1e-6
#: Ratio of the gradients of the first and the last layer from which they vanish or explode.
_VANISHING, _EXPLODING = 1e-4, 1e4


def findings_of(rows):
    """Return what looks wrong, as a list of sentences.

    Parameters
    ----------
    rows : list of LayerDiagnosis
    """
    found = [sentence for row in rows for sentence in _of_units(row)]
    return found + _of_gradients(rows) + _of_steps(rows)


def _of_units(row):
    if row.not_finite:
        yield (
            f"{row.path}: {row.not_finite} of the outputs, weights and gradients are not finite: "
            "scale X, lower learning_rate_init, or clip gradients by clip_norm."
        )
    if not row.units:
        return
    many = _MANY if row.activation == "gaussian" else _MANY_DEAD
    if row.dead and row.dead >= many * row.units:
        yield f"{row.path}: {_share(row.dead, row)} dead for these samples: {_for_dead(row)}"
    if row.saturated and row.saturated >= _MANY * row.units:
        yield (
            f"{row.path}: {_share(row.saturated, row)} saturated ({row.activation} at its bounds "
            "for nearly all samples), and hardly learn: scale X, lower learning_rate_init, raise "
            "alpha, or add batch normalization before the activation."
        )
    constant = row.constant - (row.saturated or 0)
    if constant > 0 and constant >= _MANY * row.units:
        yield (
            f"{row.path}: {_share(row.constant, row)} constant, the same for all samples: they do "
            "not respond to the input. Check that X varies and is scaled, and lower "
            "learning_rate_init."
        )


def _for_dead(row):
    if row.activation == "gaussian":
        return (
            "no sample is near their centers. Remove them, or use larger widths, or centers chosen "
            "from such samples."
        )
    if row.last:
        return "choose an output activation that reaches the targets, such as 'identity'."
    return "lower learning_rate_init, scale X, or use activation='leaky_relu'."


def _share(n, row):
    if row.units == 1:
        return "its only unit is"
    return f"all {n} units are" if n == row.units else f"{n} of {row.units} units are"


def _of_gradients(rows):
    """Compare the gradients of the first and of the last layer."""
    trained = [row for row in rows if row.gradient is not None and np.isfinite(row.gradient)]
    if len(trained) < 2 or any(row.units and row.dead == row.units for row in rows):
        return []  # a dead layer, which is a finding itself, passes none
    first, last = trained[0], trained[-1]
    sizes = f"{first.gradient:.2g} in {first.path}, {last.gradient:.2g} in {last.path}"
    if first.gradient < _VANISHING * last.gradient:
        return [
            f"Gradients vanish toward the input ({sizes}): use relu-like activations, batch "
            "normalization or residual connections, fewer layers, or fewer time steps."
        ]
    if first.gradient > _EXPLODING * last.gradient:
        return [
            f"Gradients explode toward the input ({sizes}): clip them by clip_norm, add batch "
            "normalization, or use fewer layers or time steps."
        ]
    return []


def _of_steps(rows):
    """Judge the relative sizes of steps."""
    steps = [row for row in rows if row.step is not None and row.weights]
    large = [row for row in steps if row.step > _LARGE]
    if large:
        most = max(large, key=lambda row: row.step)
        return [
            f"{_layers(large)}: a step changes the weights by up to {most.step:.2g} of their norm "
            f"(in {most.path}; rule of thumb: 0.001): lower learning_rate_init, or enlarge "
            "batch_size."
        ]
    if steps and all(row.step < _SMALL for row in steps):
        most = max(steps, key=lambda row: row.step)
        return [
            f"Steps change the weights by at most {most.step:.2g} of their norm (rule of thumb: "
            "0.001): training has converged, the learning rate has decayed, or learning_rate_init "
            "is too small."
        ]
    return []


def _layers(rows):
    return ", ".join(row.path for row in rows)
