"""What Prometheus is told: latency by stage, batch sizes, scores beside those that were exported, age of the index."""

import platform
import time
from importlib import metadata

import jax
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rexjax.serving import parts
from rexjax.serving.bundle import Bundle

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SCORES = tuple(number / 10 for number in range(-10, 11))


class Measures:
    """One registry for a server."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Histogram(
            "rexjax_request_seconds", "Whole requests.", ("path", "status"), buckets=_SECONDS, registry=registry
        )
        self._stages = Histogram(
            "rexjax_stage_seconds", "Waiting in the queue; the model.", ("stage",), buckets=_SECONDS, registry=registry
        )
        self._batches = Histogram(
            "rexjax_batch_size", "Requests in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self._scores = Histogram(
            "rexjax_best_score", "The best score of an answer.", buckets=_SCORES, registry=registry
        )
        self._expected = Gauge("rexjax_best_score_expected", "Its mean when the index was exported.", registry=registry)
        self.swaps = Counter("rexjax_swaps", "New bundles.", ("outcome",), registry=registry)
        self.refused = Counter(
            "rexjax_refused_connections", "Closed before their request was read.", ("status",), registry=registry
        )
        self.unstored = Counter("rexjax_store_failures", "Calls that the store did not answer.", registry=registry)
        self.fallbacks = Counter(
            "rexjax_fallbacks", "Answered from popularity, by what was missing.", ("reason",), registry=registry
        )
        self.unknown = Counter("rexjax_unknown_items", "Items of histories that the index lacks.", registry=registry)
        self._built = Gauge("rexjax_build_info", "1.", ("version", "jax", "python", "platform"), registry=registry)
        versions = metadata.version("rexjax"), jax.__version__, platform.python_version(), jax.default_backend()
        self._built.labels(*versions).set(1)
        self._bundle = Gauge(
            "rexjax_bundle_info", "1 for the bundle that answers.", ("version", "model"), registry=registry
        )
        self._swapped = Gauge("rexjax_swapped_timestamp_seconds", "When it began to answer.", registry=registry)
        self.refused_now = Gauge("rexjax_swap_refused", "1 while a new bundle is refused.", registry=registry)
        self._items = Gauge("rexjax_items", "Items in the index.", registry=registry)
        self._bytes = Gauge("rexjax_resident_bytes", "Of rows and weights.", registry=registry)
        self._age = Gauge("rexjax_index_age_seconds", "Since the bundle was written.", registry=registry)

    def observe(self, name: str, value: float) -> None:
        """Of the engine: ``batch_size``, or the seconds of a stage."""
        if name == "batch_size":
            self._batches.observe(value)
        else:
            self._stages.labels(name).observe(value)

    def request(self, path: str, status: int, seconds: float) -> None:
        """One that was answered."""
        self.requests.labels(path, str(status)).observe(seconds)

    def scored(self, scores: list[float]) -> None:
        """The scores of an answer, best first."""
        if scores:
            self._scores.observe(scores[0])

    def loaded(self, bundle: Bundle) -> None:
        """``bundle`` answers from now on."""
        made = (bundle.folder / parts.BUNDLE).stat().st_mtime
        self._bundle.clear()
        self._bundle.labels(bundle.version, bundle.name).set(1)
        self._swapped.set_to_current_time()
        self.refused_now.set(0)
        self._items.set(bundle.items)
        self._bytes.set(bundle.bytes_resident)
        self._age.set_function(lambda: time.time() - made)
        self._expected.set(sum(row[0] for row in bundle.probe.scores) / len(bundle.probe.scores))
