"""Layer parameters as nested parameters of an estimator that takes lists of layers."""

from dataclasses import fields, replace
from numbers import Integral

from .. import layers as all_layers
from ..hints import hint, value_meant
from ..layers import Layer
from ..tape.activations import ACTIVATIONS


def check_layers(layers, name="layers"):
    """Return layers as a list, or raise TypeError."""
    layers = [layers] if isinstance(layers, Layer) else list(layers)
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(
                f"{name}[{i}] is {layer!r}; expected a layer of sknn.layers"
                f"{_instead(layer, layers, name)}."
            )
    return layers


def _instead(value, values, name):
    """Return a suggestion for a value that is not a layer, as the end of a sentence.

    Other libraries take numbers of units, names, or their own classes as layers.
    """
    if isinstance(value, type) and issubclass(value, Layer):
        return f", with its parameters in parentheses: {value.__name__}(...)"
    if isinstance(value, Integral):
        shape = name == "layers" and len(values) in (2, 3)
        more = f", or image_shape={tuple(values)!r} for the shape of images" if shape else ""
        return f", such as Dense({value!r}){more}"
    if isinstance(value, (list, tuple)):
        return ", such as Sequential([...]) of several"
    layer, function = (value_meant(value, some) for some in (all_layers.__all__, ACTIVATIONS))
    if layer is None and function is None:
        return ""
    return f", such as {f'Activation({function!r})' if layer is None else f'{layer}(...)'}"


def _nested(value, name):
    """Yield name and value of every parameter of a layer, or of layers in (nested) lists."""
    if isinstance(value, Layer):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
    elif isinstance(value, (list, tuple)) and any(_holds_layers(part) for part in value):
        parts = dict(enumerate(value))
    else:
        return
    for key, part in parts.items():
        yield f"{name}__{key}", part
        yield from _nested(part, f"{name}__{key}")


def _holds_layers(value):
    if isinstance(value, (list, tuple)):
        return any(map(_holds_layers, value))
    return isinstance(value, Layer)


def _with(whole, path, values, name):
    """Return a copy of a layer or list of layers with some parts replaced.

    `path` is the path (names or indices) to the object whose parts are `values`.
    """
    if path:
        key, *more = path
        values = {key: _with(_part(whole, key, name), more, values, name)}
    for key in values:
        _part(whole, key, name)
    if isinstance(whole, Layer):
        return replace(whole, **values)
    changed = {int(key): value for key, value in values.items()}
    return type(whole)(changed.get(i, part) for i, part in enumerate(whole))


def _part(whole, key, name):
    """Return the part of a layer or list of layers with this name or index."""
    if isinstance(whole, Layer):
        valid = sorted(field.name for field in fields(whole))
        if key in valid:
            return getattr(whole, key)
        more = hint(key, valid)
        raise ValueError(f"Invalid parameter {name!r} for {whole}; valid ones are {valid}.{more}")
    if not _holds_layers(whole) or not key.isdecimal():
        raise ValueError(f"Invalid parameter {name!r}: {key!r} is not a part of {whole!r}.")
    if int(key) >= len(whole):
        raise ValueError(f"Invalid parameter {name!r}: there are {len(whole)} layers.")
    return whole[int(key)]


class LayersAsParameters:
    """Makes ``get_params`` and ``set_params`` work on lists of layers."""

    #: Names of the parameters that may be lists of layers.
    _layer_lists = ("layers",)

    def get_params(self, deep=True):
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of the layers.

        Returns
        -------
        params : dict of str to object
            Parameter names mapped to their values.
        """
        params = super().get_params(deep=deep)
        if deep:
            for name in self._layer_lists:
                params.update(_nested(getattr(self, name), name))
        return params

    def set_params(self, **params):
        """Set parameters, including layers (``layers__0``) and theirs (``layers__0__filters``).

        Layers are never modified: the parameter becomes a new list with new layers.

        Parameters
        ----------
        **params : dict of str to object
            Parameter names mapped to new values.

        Returns
        -------
        self : estimator
            The estimator itself.
        """
        inner = {k: v for k, v in params.items() if k.split("__")[0] in self._layer_lists}
        inner = {k: v for k, v in inner.items() if "__" in k}
        super().set_params(**{k: v for k, v in params.items() if k not in inner})
        groups = {}
        for name, value in inner.items():
            which, *path, last = name.split("__")
            if not _holds_layers(getattr(self, which)):
                value = getattr(self, which)
                kind = "a name, not a list" if isinstance(value, str) else "not a list of layers"
                raise ValueError(f"Invalid parameter {name!r}: {which}={value!r} is {kind}.")
            groups.setdefault((len(path), which, *path), {})[last] = (value, name)
        for (_, which, *path), values in sorted(groups.items()):  # whole layers first
            name = next(iter(values.values()))[1]
            values = {key: value for key, (value, _) in values.items()}
            setattr(self, which, _with(getattr(self, which), path, values, name))
        return self
