"""Figures for Prometheus, for who has the token of monitoring: no names of people or accounts."""

from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from nexus_allocator.api.context import Here
from nexus_allocator.api.models import RefusalModel
from nexus_allocator.domain.credits import MICRO
from nexus_allocator.domain.rights import Action, does
from nexus_allocator.services import monitoring

router = APIRouter(prefix="/api", tags=["monitoring"], responses={401: {"model": RefusalModel}})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
@does(Action.METRICS_SEE)
def metrics(here: Here) -> Response:
    """What this process counted, and what the database says now."""
    with here.database.reading_scope() as session:
        gauges = monitoring.gauges(session, now=here.clock())
    now = CollectorRegistry()
    now.register(Now(gauges))
    return Response(
        generate_latest(here.counted.registry) + generate_latest(now), media_type=CONTENT_TYPE_LATEST
    )


class Now(Collector):
    """One reading of the database, the same from every replica: take the maximum, not the sum."""

    def __init__(self, gauges: monitoring.Gauges) -> None:
        self.gauges = gauges

    def collect(self) -> Iterator[Metric]:
        found = self.gauges
        live = GaugeMetricFamily("nexus_live_servers", "Servers with an open hold", labels=["size", "state"])
        for (size, state), number in sorted(found.live.items()):
            live.add_metric([size, state], number)
        yield live
        outgoing = GaugeMetricFamily("nexus_outgoing", "Rows of the outbox", labels=["state"])
        for row_state, number in sorted(found.outgoing.items()):
            outgoing.add_metric([row_state], number)
        yield outgoing
        yield GaugeMetricFamily(
            "nexus_held_credits", "Credits that open holds set aside", value=found.held_micro / MICRO
        )
        yield GaugeMetricFamily(
            "nexus_requests_waiting", "Requests that nobody has decided", value=found.requests_waiting
        )
        yield from self._ages()
        yield from self._places()
        if found.pool_spent_micro is not None:
            spent = found.pool_spent_micro / MICRO
            yield GaugeMetricFamily("nexus_pool_spent_credits", "Spent in this period by all", value=spent)

    def _places(self) -> Iterator[Metric]:
        number = GaugeMetricFamily("nexus_places", "Places on volumes", labels=["kind", "is"])
        for kind, found in sorted(self.gauges.places.items()):
            number.add_metric([kind, "all"], found.places)
            number.add_metric([kind, "not_as_ordered"], found.undone)
            number.add_metric([kind, "over_soft_limit"], found.overfull)
        yield number

    def _ages(self) -> Iterator[Metric]:
        """Yield how long ago servers were read; before the first round there is nothing to say."""
        if self.gauges.meter_age_s is not None:
            said = "Seconds since the meter's last round"
            yield GaugeMetricFamily("nexus_meter_age_seconds", said, value=self.gauges.meter_age_s)
        if self.gauges.meter_whole_age_s is not None:
            said = "Seconds since the meter's last whole answer from the hub"
            yield GaugeMetricFamily(
                "nexus_meter_whole_age_seconds", said, value=self.gauges.meter_whole_age_s
            )
