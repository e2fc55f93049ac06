"""A stand-in for JAX's coordination service, for threads of one process."""

import threading


class Board:
    """Keys and values, and barriers of ``count`` threads."""

    def __init__(self, count: int = 1):
        self.values: dict[str, str] = {}
        self.frozen = False
        self._count, self._changed = count, threading.Condition()
        self._barriers: dict[str, threading.Barrier] = {}

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        with self._changed:
            while self.frozen:
                self._changed.wait()
            if key in self.values and not allow_overwrite:
                raise RuntimeError(f"ALREADY_EXISTS: {key}")
            self.values[key] = value
            self._changed.notify_all()

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        with self._changed:
            return [(name, value) for name, value in self.values.items() if name.startswith(key + "/")]

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self.values, timeout_in_ms / 1000)
            return self.values[key]

    def wait_at_barrier(self, barrier_id: str, timeout_in_ms: int) -> None:
        with self._changed:
            barrier = self._barriers.setdefault(barrier_id, threading.Barrier(self._count))
        barrier.wait(timeout_in_ms / 1000)
