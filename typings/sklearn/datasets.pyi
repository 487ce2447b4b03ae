"""Nothing is known of it: what can be inferred from its code is often too wide."""

from typing import Any

def __getattr__(name: str) -> Any: ...
