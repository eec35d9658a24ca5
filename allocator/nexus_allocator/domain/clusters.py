"""Dask clusters: what they reserve at most, what a part of that costs, and how it stands on a hold."""

from dataclasses import dataclass

from nexus_allocator.domain.policy import GIB, RateCard

# Stands where a hold names its server size; no size of the policy may be called so.
CLUSTER = "dask"


@dataclass(frozen=True)
class ClusterShape:
    """One scheduler and at most ``workers`` workers, as asked of the gateway."""

    workers: int
    worker_cpu: int
    worker_memory_bytes: int
    scheduler_cpu: int
    scheduler_memory_bytes: int

    @property
    def worker_cores(self) -> int:
        """The cores that a tier's limit counts; the scheduler's are not among them."""
        return self.workers * self.worker_cpu

    @property
    def cpu(self) -> int:
        return self.scheduler_cpu + self.worker_cores

    @property
    def memory_bytes(self) -> int:
        return self.scheduler_memory_bytes + self.workers * self.worker_memory_bytes


def rate_micro(card: RateCard, *, cpu: int, memory_bytes: int) -> int:
    """Return micro-credits per hour of what is reserved, rounded up."""
    return cpu * card.vcpu_hour_micro - (-memory_bytes * card.gib_hour_micro // GIB)


@dataclass(frozen=True)
class ClusterRates:
    """Micro-credits per hour of the scheduler and of each worker, as they were when the hold was placed."""

    scheduler_micro: int
    worker_micro: int
    workers: int

    @classmethod
    def of(cls, shape: ClusterShape, card: RateCard) -> "ClusterRates":
        scheduler = rate_micro(card, cpu=shape.scheduler_cpu, memory_bytes=shape.scheduler_memory_bytes)
        worker = rate_micro(card, cpu=shape.worker_cpu, memory_bytes=shape.worker_memory_bytes)
        return cls(scheduler, worker, shape.workers)

    @property
    def whole_micro(self) -> int:
        """The rate of the cluster at its largest, at which its hold is placed."""
        return self.scheduler_micro + self.workers * self.worker_micro

    def whole_seconds(self, seconds: float, *, workers: int) -> float:
        """Return for how long the whole cluster costs what ``seconds`` with so many workers do."""
        part = self.scheduler_micro + min(workers, self.workers) * self.worker_micro
        return max(0.0, seconds) * part / self.whole_micro if self.whole_micro else 0.0
