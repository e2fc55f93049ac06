"""How processes talk before and while they compute: a table of keys and values, and barriers."""

from typing import Protocol


class Board(Protocol):
    """What all processes can write to and read: JAX's client of the coordination service."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        """Refuses a key that is there, unless it may be overwritten."""

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        """All keys below ``key`` with their values."""

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str:
        """Returns when the key is there."""

    def wait_at_barrier(self, barrier_id: str, timeout_in_ms: int) -> None:
        """Returns when all processes have called it."""
