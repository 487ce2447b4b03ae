"""A text corpus."""

from pathlib import Path

from sklearn.datasets import fetch_file, get_data_home
from sklearn.utils import Bunch

from .files import naming, opened

_ADDRESS = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/"
    "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt"
)
_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_FILE = "sknn_tiny_shakespeare.txt"
_DESCR = """Tiny Shakespeare

40,000 lines of plays by William Shakespeare, which are in the public domain: 1,115,394 characters,
65 different ones. Compiled by Andrej Karpathy, 2015, https://github.com/karpathy/char-rnn.
"""
#: The most bytes of text that are read.
_MOST = 2**28


def fetch_tiny_shakespeare(
    *, path=None, data_home=None, download_if_missing=True, n_retries=3, delay=1.0
):
    """Load 40,000 lines of plays by Shakespeare, a corpus for models of characters.

    Parameters
    ----------
    path : path-like, default=None
        A text file in UTF-8, compressed if its name ends with .gz; of at most 256 MiB. None: the
        file in `data_home`, downloaded if it does not exist, and compared with a checksum.
    data_home : path-like, default=None
        The folder for downloads; None: that of :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        Whether to download the text if it is not there; otherwise, that is an OSError.
    n_retries : int, default=3
        How often a download is tried again.
    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        `data`, the text, a str that :class:`sknn.CharRNN` can be fitted to; `filename`; `DESCR`.

    Raises
    ------
    ValueError
        If the file is damaged.
    OSError
        If the file is missing, or cannot be downloaded.
    """
    if path is None:
        home = Path(get_data_home(data_home))
        path = home / _FILE
        if not path.exists() and not download_if_missing:
            raise OSError(f"{path} does not exist, and `download_if_missing` is False.")
        # an existing file is only compared with the checksum
        path = fetch_file(_ADDRESS, home, _FILE, sha256=_SHA256, n_retries=n_retries, delay=delay)
    with naming(path), opened(path) as file:
        data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise ValueError(f"{path} has more than {_MOST} bytes of text.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error}") from error
    return Bunch(data=text, filename=str(path), DESCR=_DESCR)
