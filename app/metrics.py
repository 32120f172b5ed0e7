"""The numbers Prometheus reads: turns by lane and tier, what waits, the large model's calls, drift, the process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.desk import Event
from app.drift_watch import Drift
from app.models.metering import Meter
from app.release_watch import ReleaseState
from app.spending import Budgets
from app.stores.waiting import Waiting


class Metrics:
    """Counters of one app; its own registry, so that two apps in a process do not add up."""

    def __init__(self, version: str = "unknown") -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._llm = LlmCollector()
        self.registry.register(self._llm)
        self.build = self._gauge("build_info", "Always 1; the version is a label.", "version")
        self.build.labels(version=version).set(1)
        self.turns = self._counter(
            "turns",
            "Turns played, by lane, deciding tier and ending; lane none: handed off or refused.",
            "lane",
            "tier",
            "ending",
        )
        self.turns_without_llm = self._counter(
            "turns_without_llm", "Turns that asked the large model nothing."
        )
        self.llm_calls = self._counter("llm_calls", "Calls of the large model within turns.")
        self.loop_lag = self._gauge(
            "loop_lag_seconds",
            "The longest a task waited for the event loop in the last two minutes.",
        )
        self.requested = self._counter(
            "approvals_requested", "Actions that began to wait for a person."
        )
        self.handed_off = self._counter("handoffs", "Turns that ended with a person taking over.")
        self.ratings = self._counter(
            "ratings", "Answers that customers rated, by whether they helped.", "good"
        )
        self.seconds = Histogram(
            "signalbox_turn_seconds",
            "Wall time of a turn.",
            ["lane"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.http = self._counter(
            "http_requests", "Answers of the web server, by method and code.", "method", "code"
        )
        self.waiting = self._gauge("waiting", "How much waits for a person.", "what")
        self.oldest = self._gauge(
            "waiting_oldest_seconds", "How long the oldest of them has waited.", "what"
        )
        self.drift_alarm = self._gauge(
            "drift_alarm", "1 while the window's traffic is not like the reference.", "window"
        )
        self.drift_p = self._gauge(
            "drift_p", "Corrected p-value of each drift test.", "window", "test"
        )
        self.drift_looked = self._gauge(
            "drift_looked_timestamp_seconds", "When drift was last looked at, in Unix time."
        )
        self.spent_today = self._gauge(
            "spent_today", "What large models cost since midnight UTC, of all replicas."
        )
        self.day_budget = self._gauge("day_budget", "What they may cost a day; 0: whatever it is.")
        self.shadow = self._gauge(
            "shadow_messages",
            "Messages for the candidate since the start, by what became of them.",
            "fate",
        )
        self.release_refused = self._gauge(
            "release_refused",
            "1 while a promotion or rollback could not be taken up and the models before it decide.",
        )

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"signalbox_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"signalbox_{name}", what, labels, registry=self.registry)

    def released(self, state: ReleaseState) -> None:
        """Show whether what is live is what decides."""
        self.release_refused.set(state.problem is not None)

    def lagged(self, seconds: float) -> None:
        """How long the event loop kept somebody waiting at most."""
        self.loop_lag.set(seconds)

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

    def waits(self, waiting: Waiting) -> None:
        """Show what waits for people."""
        for what, number, since in (
            ("approvals", waiting.approvals, waiting.approvals_since),
            ("handoffs", waiting.hand_offs, waiting.hand_offs_since),
            ("payments", waiting.unsettled, waiting.unsettled_since),
        ):
            self.waiting.labels(what=what).set(number)
            self.oldest.labels(what=what).set(_age(since))

    def metered(self, meter: Meter) -> None:
        """Show what the large model's calls used."""
        self._llm.meter = meter

    def spends(self, budgets: Budgets, today: float) -> None:
        """Show what turns came to and cost, and what of the day's budget is spent."""
        self._llm.budgets = budgets
        self.spent_today.set(today)
        self.day_budget.set(budgets.limits.day)

    def rated(self, *, good: bool) -> None:
        """Count what a customer thinks of an answer; who changes their mind counts twice."""
        self.ratings.labels(good=str(good).lower()).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def answered(self, method: str, code: int) -> None:
        """Count an answer of the web server."""
        known = method if method in {"GET", "HEAD", "POST", "PUT", "DELETE"} else "other"
        self.http.labels(method=known, code=str(code)).inc()

    def seen(self, event: Event, lane: str, tier: str, seconds: float) -> None:
        """Count an event of a turn that ``tier`` sent down ``lane``, after ``seconds``."""
        if event.event == "approval_required":
            self.requested.inc()
        if event.event == "handoff":
            self.handed_off.inc()
        if event.event not in {"final", "error"}:
            return
        calls = event.data.get("llm_calls")
        if isinstance(calls, int):
            self.llm_calls.inc(calls)
        if not calls and event.event == "final":
            self.turns_without_llm.inc()
        self.turns.labels(lane=lane, tier=tier, ending=event.event).inc()
        self.seconds.labels(lane=lane).observe(seconds)


class LlmCollector(Collector):
    """Reads the meter and the budgets when Prometheus asks."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.budgets = Budgets()

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "signalbox_llm_requests",
            "Calls of the large model by how they ended: ok, timeout, unavailable, refused, left.",
            labels=["role", "model", "ending"],
        )
        for labels, number in self.meter.calls.items():
            calls.add_metric([*labels], number)
        tokens = CounterMetricFamily(
            "signalbox_llm_tokens",
            "Tokens by kind: input (read), cached (read from the server's cache), output.",
            labels=["model", "kind"],
        )
        for labels, number in self.meter.tokens.items():
            tokens.add_metric([*labels], number)
        cost = CounterMetricFamily(
            "signalbox_llm_cost",
            "Cost of the models with a known price.",
            labels=["model", "currency"],
        )
        for model, spent in self.meter.cost.items():
            cost.add_metric([model, self.meter.prices.currency], spent)
        ended = CounterMetricFamily(
            "signalbox_turn_outcomes",
            "Turns by what came of them when they ended: resolved, failed, escalated, open.",
            labels=["lane", "outcome"],
        )
        for (lane, outcome), number in self.budgets.ended.items():
            ended.add_metric([lane, outcome], number)
        turns = CounterMetricFamily(
            "signalbox_turn_cost",
            "What turns cost, of the models with a known price.",
            labels=["lane", "currency"],
        )
        for lane, spent in self.budgets.cost.items():
            turns.add_metric([lane, self.budgets.prices.currency], spent)
        refused = CounterMetricFamily(
            "signalbox_budget_refusals",
            "Calls of the large model that were not made because a budget was spent.",
            labels=["budget"],
        )
        for budget, number in self.budgets.refused.items():
            refused.add_metric([budget], number)
        yield from (calls, tokens, cost, ended, turns, refused)


def _age(since: datetime | None) -> float:
    return 0.0 if since is None else max(0.0, time.time() - since.timestamp())
