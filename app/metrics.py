"""The few numbers Prometheus reads: turns by lane and tier, LLM calls, latency."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from app.desk import Event
from app.drift_watch import Drift
from app.release_watch import ReleaseState


class Metrics:
    """Counters of one app; its own registry, so that two apps in a process do not add up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.turns = Counter(
            "signalbox_turns", "Turns played, by lane.", ["lane", "ending"], registry=self.registry
        )
        self.llm_calls = Counter(
            "signalbox_llm_calls", "Calls of the large model.", registry=self.registry
        )
        self.approvals = Counter(
            "signalbox_approvals_requested",
            "Actions that waited for a person.",
            registry=self.registry,
        )
        self.seconds = Histogram(
            "signalbox_turn_seconds",
            "Wall time of a turn.",
            ["lane"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )

        self.drift_alarm = Gauge(
            "signalbox_drift_alarm",
            "1 while the window's traffic is not like the reference.",
            ["window"],
            registry=self.registry,
        )
        self.drift_p = Gauge(
            "signalbox_drift_p",
            "Corrected p-value of each drift test.",
            ["window", "test"],
            registry=self.registry,
        )
        self.drift_looked = Gauge(
            "signalbox_drift_looked_seconds",
            "When drift was last looked at, in Unix time.",
            registry=self.registry,
        )
        self.shadow = Gauge(
            "signalbox_shadow_messages",
            "Messages for the candidate since the start, by what became of them.",
            ["fate"],
            registry=self.registry,
        )

        self.release_refused = Gauge(
            "signalbox_release_refused",
            "1 while a promotion or rollback could not be taken up and the models before it decide.",
            registry=self.registry,
        )

    def released(self, state: ReleaseState) -> None:
        """Show whether what is live is what decides."""
        self.release_refused.set(state.problem is not None)

    def drifted(self, drift: Drift) -> None:
        """Show the last look at the traffic."""
        for each in drift.windows:
            self.drift_alarm.labels(window=each.window).set(each.comparison.alarm)
            for test, p in each.comparison.p.items():
                self.drift_p.labels(window=each.window, test=test).set(p)
        if drift.at is not None:
            self.drift_looked.set(drift.at.timestamp())

    def shadowed(self, counts: Mapping[str, int]) -> None:
        """Show what became of the messages a candidate was offered."""
        for fate, number in counts.items():
            self.shadow.labels(fate=fate).set(number)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def seen(self, event: Event, lane: str, seconds: float) -> None:
        """Count an event of a turn that has run on ``lane`` for ``seconds``."""
        if event.event == "approval_required":
            self.approvals.inc()
        if event.event not in {"final", "error"}:
            return
        calls = event.data.get("llm_calls")
        if isinstance(calls, int):
            self.llm_calls.inc(calls)
        self.turns.labels(lane=lane, ending=event.event).inc()
        self.seconds.labels(lane=lane).observe(seconds)
