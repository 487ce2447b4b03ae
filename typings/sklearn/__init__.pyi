"""What a clone is, which cannot be inferred from scikit-learn's code."""

from typing import Any, TypeVar

Estimator = TypeVar("Estimator")

def clone(estimator: Estimator, *, safe: bool = True) -> Estimator: ...
def __getattr__(name: str) -> Any: ...
