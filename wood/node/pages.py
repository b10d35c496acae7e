"""What a node answers at its health port: for a balancer, for a person, and for Prometheus."""

from http import HTTPStatus

from msgspec import json

from wood.node.figures import Figures
from wood.node.health import Answer, Page
from wood.node.metrics import CONTENT_TYPE, Metrics


class Pages:
    """The pages of one node, as its `figures` are when somebody asks."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        self._metrics = Metrics(figures)

    def by_path(self) -> dict[str, Page]:
        """All of them."""
        return {
            "/healthz": self.alive,
            "/readyz": self.readiness,
            "/status": self.status,
            "/metrics": self.metrics,
        }

    def alive(self) -> Answer:
        """While the process lives."""
        return Answer(HTTPStatus.OK, "ok\n")

    def readiness(self) -> Answer:
        """Whether new connections are welcome. No matter for those that there are."""
        reason = self._figures.ready()
        if reason is None:
            return Answer(HTTPStatus.OK, "ready\n")
        return Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{reason}\n")

    def status(self) -> Answer:
        """A `NodeReport` in JSON."""
        report = json.encode(self._figures.report()).decode()
        return Answer(HTTPStatus.OK, f"{report}\n", "application/json")

    def metrics(self) -> Answer:
        """In the text format of Prometheus."""
        return Answer(HTTPStatus.OK, self._metrics.text(), CONTENT_TYPE)
