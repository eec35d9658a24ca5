"""What one process of the service counts for monitoring; Prometheus adds the processes up."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram

# Half of the promised 50 ms is told apart from it, and what is far beyond from a little more.
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass
class Counted:
    """Admissions by how long they took, and refusals by their slug."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    admission_s: Histogram = field(init=False)
    refusals: Counter = field(init=False)

    def __post_init__(self) -> None:
        self.admission_s = Histogram(
            "nexus_admission_seconds", "Time to admit or refuse a launch", buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.refusals = Counter(
            "nexus_refusals", "Requests refused, by the slug of the error", ["error"], registry=self.registry
        )
