"""Text, with the probability that a model gave each of its characters."""

import numpy as np

from ..text.characters import TextModel
from .base import (
    Display,
    add_scale,
    check_choice,
    check_count,
    contrast,
    ink,
    wrong_estimator,
)

#: What is written for characters that cannot be seen.
_VISIBLE = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥", "": "⊣"}
#: Inches that a character takes.
_WIDTH, _HEIGHT = 0.115, 0.23


class TextProbabilityDisplay(Display):
    """A text, each character on a box whose color is its probability.

    Parameters
    ----------
    text : str
        The text.
    probabilities : array-like of shape (n_chars,)
        The probability of each character, given those before it.
    alternatives : array-like of str, of shape (n_chars, n_alternatives), or None, default=None
        The most probable characters in each place, to write below; '' is the end of the text.
    alternative_probabilities : array-like of shape (n_chars, n_alternatives) or None, default=None
        Their probabilities.

    Attributes
    ----------
    mesh_ : QuadMesh
        The boxes.
    text_ : list of Text
        The characters, those of the text first.
    colorbar_ : Colorbar or None
        The scale.
    ax_ : Axes
        The axes.
    figure_ : Figure
        Their figure.

    Examples
    --------
    >>> from sknn import CharMarkovChain
    >>> from sknn.display import TextProbabilityDisplay
    >>> chain = CharMarkovChain(order=2).fit("she sells sea shells by the sea shore")
    >>> display = TextProbabilityDisplay.from_estimator(chain, "shells", alternatives=2)
    >>> display.alternatives[2].tolist()
    ['e', 'o']
    """

    def __init__(self, *, text, probabilities, alternatives=None, alternative_probabilities=None):
        self.text = text
        self.probabilities = probabilities
        self.alternatives = alternatives
        self.alternative_probabilities = alternative_probabilities

    def plot(self, ax=None, *, width=60, scale="probability", colorbar=True, **kwargs):
        """Draw the text.

        Parameters
        ----------
        ax : Axes, default=None
            The axes; None: of a new figure.
        width : int, default=60
            Maximum number of characters in a line; a line also ends where the text has a newline.
        scale : {'probability', 'surprise'}, default='probability'
            What colors stand for: probabilities, or minus their logarithms to base 2, in bits.
        colorbar : bool, default=True
            Whether to draw the scale.
        **kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.pcolormesh`.

        Returns
        -------
        display : TextProbabilityDisplay
            This display.
        """
        check_choice("scale", scale, {"probability", "surprise"})
        check_count("width", width, 1)
        if not self.text:
            raise ValueError("text is empty; expected at least one character.")
        probabilities = np.asarray(self.probabilities, np.float64)
        if probabilities.shape != (len(self.text),):
            raise ValueError(
                f"probabilities has the shape {probabilities.shape}; expected ({len(self.text)},), "
                "one for each character of text."
            )
        if not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise ValueError("probabilities has values that are not in [0, 1].")
        rows = [(list(self.text), probabilities)]
        if self.alternatives is not None:
            rows += zip(
                np.transpose(self.alternatives),
                np.transpose(np.asarray(self.alternative_probabilities, np.float64)),
            )
        places = _places(self.text, width)
        n_below = 0 if self.alternatives is None else np.shape(self.alternatives)[1]
        # a line has its characters, the alternatives below, and a gap
        heights = [1.0] + [0.8] * n_below + [0.6 if n_below else 0.25]
        edges = np.concatenate([[0], np.cumsum(heights * (places[-1][0] + 1))])
        columns = max(column for _, column in places) + 1
        values = np.full((len(edges) - 1, columns), np.nan)
        rows = [line * len(heights) for line, _ in places]
        values[rows, [column for _, column in places]] = probabilities
        if scale == "surprise":
            with np.errstate(divide="ignore"):
                values = -np.log2(values)
            values[np.isinf(values)] = values.max(initial=1.0, where=np.isfinite(values))
        most = 1.0 if scale == "probability" else float(np.nanmax(values)) or 1.0
        height = _HEIGHT * edges[-1] + (0.6 if colorbar else 0.1)
        ax = self._axes(ax, (max(_WIDTH * columns, 2.4) + 0.2, height))
        self.mesh_ = ax.pcolormesh(
            np.arange(columns + 1) - 0.5, edges, np.ma.masked_invalid(values),
            **{"cmap": "YlOrRd_r" if scale == "probability" else "YlOrRd", "vmin": 0.0,
               "vmax": most, **kwargs},
        )  # fmt: skip
        ax.set(xlim=(-0.5, columns - 0.5), ylim=(edges[-1], 0), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.patch.set_visible(False)
        self.text_ = []
        for (_, column), row, character in zip(places, rows, self.text):
            color = str(contrast(self.mesh_.to_rgba(values[row, column])))
            shown = "" if character == " " else _VISIBLE.get(character, character)
            self._write(ax, column, edges[row : row + 2], shown, color=color)
        for below in range(n_below):
            self._write_alternatives(ax, below, places, rows, edges)
        self.colorbar_ = None
        if colorbar:
            label = "probability" if scale == "probability" else "surprise (bits)"
            self.colorbar_ = add_scale(ax, self.mesh_, label, below=True)
        return self

    def _write(self, ax, column, edges, shown, **kwargs):
        """Write a character on its box."""
        self.text_.append(
            ax.text(
                column,
                np.mean(edges),
                shown,
                family="monospace",
                ha="center",
                va="center_baseline",
                parse_math=False,
                **kwargs,
            )  # fmt: skip
        )

    def _write_alternatives(self, ax, below, places, rows, edges):
        """Write a line of alternatives, the more probable the more visible."""
        characters = np.asarray(self.alternatives)[:, below]
        found = np.asarray(self.alternative_probabilities)[:, below]
        for (_, column), row, character, probability in zip(places, rows, characters, found):
            row = row + 1 + below
            self._write(
                ax, column, edges[row : row + 2], _VISIBLE.get(character, character),
                color=ink(), alpha=0.3 + 0.7 * float(probability), fontsize="small",
            )  # fmt: skip

    @classmethod
    def from_estimator(
        cls, estimator, text=None, *, prime="", n_chars=200, temperature=1.0, top_k=None,
        random_state=None, alternatives=0, width=60, scale="probability", colorbar=True, ax=None,
        **kwargs,
    ):  # fmt: skip
        """Draw a given text, or one that the model writes.

        Parameters
        ----------
        estimator : CharRNN or CharMarkovChain
            A fitted model.
        text : str or None, default=None
            The text; None: the model writes one, by `sample`.
        prime : str, default=''
            Text before it, which is not drawn. For an empty one, the probability of the first
            character is that which `predict_proba` has for an empty text.
        n_chars, temperature, top_k, random_state
            As in the method `sample`. The probabilities that are drawn are those of the model, at a
            temperature of 1.
        alternatives : int, default=0
            How many of the most probable characters to write below each character.
        width, scale, colorbar, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : TextProbabilityDisplay
            The display, drawn.
        """
        net, _ = cls._network_in(estimator)
        if not isinstance(net, TextModel):
            raise wrong_estimator(cls, net, "a CharRNN or a CharMarkovChain")
        if not isinstance(prime, str):
            raise TypeError(f"prime is of the type {type(prime).__name__}; expected a str.")
        if text is None:
            text = net.sample(n_chars, prime, temperature, top_k, random_state)
        if not isinstance(text, str):
            raise TypeError(f"text is of the type {type(text).__name__}; expected a str.")
        if not text:
            raise ValueError("text is empty; expected at least one character.")
        probabilities = net.predict_proba([prime + text[:i] for i in range(len(text))])
        return cls.from_predictions(
            text, probabilities, vocabulary=net.vocabulary_, unknown=net.unknown,
            alternatives=alternatives, width=width, scale=scale, colorbar=colorbar, ax=ax, **kwargs,
        )  # fmt: skip

    @classmethod
    def from_predictions(
        cls, text, probabilities, *, vocabulary=None, unknown=None, alternatives=0, width=60,
        scale="probability", colorbar=True, ax=None, **kwargs,
    ):  # fmt: skip
        """Draw a text with given probabilities.

        Parameters
        ----------
        text : str
            The text.
        probabilities : array-like of shape (n_chars,) or (n_chars, n_vocabulary)
            The probability of each character, or, with `vocabulary`, the distributions of the
            characters in each place.
        vocabulary : array-like of str, of shape (n_vocabulary,), default=None
            The characters that the columns stand for.
        unknown : str or None, default=None
            The one of them that stands for all characters that are not among them.
        alternatives : int, default=0
            How many of the most probable characters to write below each character; needs
            distributions.
        width, scale, colorbar, ax, **kwargs
            As in :meth:`plot`.

        Returns
        -------
        display : TextProbabilityDisplay
            The display, drawn.
        """
        check_count("alternatives", alternatives, 0)
        probabilities = np.asarray(probabilities)
        others = {}
        if probabilities.ndim == 2:
            number = _numbers(text, probabilities, vocabulary, unknown)
            best = np.argsort(-probabilities, axis=1, kind="stable")[:, :alternatives]
            if alternatives:
                others["alternatives"] = np.asarray(vocabulary, dtype=object)[best]
                others["alternative_probabilities"] = np.take_along_axis(probabilities, best, 1)
            probabilities = probabilities[np.arange(len(text)), number]
        elif alternatives:
            raise ValueError(
                f"alternatives is {alternatives}, which needs probabilities of the shape (n_chars, "
                f"n_vocabulary); got {probabilities.shape}."
            )
        display = cls(text=text, probabilities=probabilities, **others)
        return display.plot(ax=ax, width=width, scale=scale, colorbar=colorbar, **kwargs)


def _numbers(text, probabilities, vocabulary, unknown):
    """Return the column of each character of a text."""
    if vocabulary is None or probabilities.shape != (len(text), len(vocabulary)):
        size = "n_vocabulary" if vocabulary is None else len(vocabulary)
        raise ValueError(
            f"probabilities has the shape {probabilities.shape}; expected ({len(text)},), or "
            f"({len(text)}, {size}) with vocabulary."
        )
    column = {character: i for i, character in enumerate(vocabulary)}
    other = column.get(unknown)
    found = [column.get(character, other) for character in text]
    if None in found:
        raise ValueError(f"text has {text[found.index(None)]!r}, which is not in vocabulary.")
    return np.array(found)


def _places(text, width):
    """Return line and column of each character."""
    places, line, column = [], 0, 0
    for character in text:
        if column == width:
            line, column = line + 1, 0
        places.append((line, column))
        column += 1
        if character == "\n":
            line, column = line + 1, 0
    return places
