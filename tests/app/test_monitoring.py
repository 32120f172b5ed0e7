"""The dashboard, the alert rules and the metrics belong together."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.desk import Event
from app.economics import Limits, Line
from app.metrics import Metrics
from app.models.metering import LlmCall, Meter, Price, Prices, Usage, read_prices
from app.spending import Budgets
from app.stores.waiting import Waiting

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"
#: Prometheus makes this one itself, of every target.
FOREIGN = {"up"}


def used() -> set[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    names = re.findall(
        r"\b((?:signalbox|process|up)\w*)\b(?=[{\[)\s<>=]|$)", "\n".join(expressions)
    )
    return {re.sub(r"_(total|bucket|info)$", "", name) for name in names} - FOREIGN


def families(metrics: Metrics) -> dict[str, list[dict[str, str]]]:
    parsed = text_string_to_metric_families(metrics.text().decode())
    return {
        re.sub(r"_(total|info)$", "", family.name): [sample.labels for sample in family.samples]
        for family in parsed
        if not family.name.endswith("_created")
    }


def test_each_metric_is_used_and_each_used_one_exists():
    """No number nobody looks at, no panel or alert of a number that is not there."""
    ours = {name for name in families(Metrics()) if name.startswith("signalbox_")}

    assert ours
    assert ours - used() == set()
    assert used() - set(families(Metrics())) == set()


def test_every_alert_says_what_is_wrong():
    """Name, expression, severity and a sentence."""
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]

    assert len({rule["alert"] for rule in rules}) == len(rules) >= 5
    for rule in rules:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"signalbox_{name}", labels)


def test_what_waits_is_shown_with_its_age():
    """Approvals, hand-offs and payments in doubt; nothing waiting is zero."""
    metrics = Metrics("0.9")
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    metrics.waits(Waiting(approvals=3, approvals_since=hour_ago, hand_offs=0))

    assert value(metrics, "waiting", what="approvals") == 3
    assert value(metrics, "waiting_oldest_seconds", what="approvals") == pytest.approx(3600, abs=5)
    assert value(metrics, "waiting", what="handoffs") == 0
    assert value(metrics, "waiting_oldest_seconds", what="handoffs") == 0
    assert value(metrics, "build_info", version="0.9") == 1
    assert "process_resident_memory_bytes" in metrics.text().decode()


def test_a_turn_is_counted_by_lane_tier_and_ending():
    """And whether it asked the large model nothing."""
    metrics = Metrics()
    for calls in (0, 2):
        metrics.seen(Event(event="final", data={"llm_calls": calls}), "answer", "encoder", 0.2)
    metrics.seen(Event(event="handoff", data={}), "escalate", "rule", 0.1)

    assert value(metrics, "turns_total", lane="answer", tier="encoder", ending="final") == 2
    assert value(metrics, "turns_without_llm_total") == 1
    assert value(metrics, "llm_calls_total") == 2
    assert value(metrics, "handoffs_total") == 1


def test_calls_of_the_large_model_are_counted_with_tokens_cost_and_failures():
    """A model without a known price has tokens and no cost."""
    meter = Meter(Prices(models={"big": Price(input=2, output=8, cached=0.5)}))
    meter.heard(LlmCall("synthesizer", "big", "ok", Usage(1_000_000, 500_000, 400_000)))
    meter.heard(LlmCall("planner", "big", "timeout"))
    meter.heard(LlmCall("planner", "other", "ok", Usage(10, 5)))
    metrics = Metrics()
    metrics.metered(meter)

    assert value(metrics, "llm_requests_total", role="planner", model="big", ending="timeout") == 1
    assert value(metrics, "llm_tokens_total", model="big", kind="input") == 600_000
    assert value(metrics, "llm_tokens_total", model="big", kind="cached") == 400_000
    assert value(metrics, "llm_tokens_total", model="big", kind="output") == 500_000
    assert value(metrics, "llm_cost_total", model="big", currency="USD") == pytest.approx(5.4)
    assert value(metrics, "llm_cost_total", model="other", currency="USD") is None


def test_what_turns_came_to_and_cost_is_counted_by_lane():
    """With what was not asked for want of budget."""
    budgets = Budgets(limits=Limits(day=20))
    budgets.ended["answer", "resolved"] += 3
    budgets.cost["answer"] = 1.5
    budgets.refused["customer"] += 2
    metrics = Metrics()
    metrics.spends(budgets, 4.0)

    assert value(metrics, "turn_outcomes_total", lane="answer", outcome="resolved") == 3
    assert value(metrics, "turn_cost_total", lane="answer", currency="USD") == 1.5
    assert value(metrics, "budget_refusals_total", budget="customer") == 2
    assert (value(metrics, "spent_today"), value(metrics, "day_budget")) == (4.0, 20.0)


async def test_the_economics_are_for_operators(client, desk, operator):
    """What turns cost and came to, the same with a large model for everything, budgets, and this process's calls."""
    desk.meter = Meter(Prices(models={"big": Price(input=2, output=8)}))
    desk.budgets = Budgets(limits=Limits(day=20), prices=desk.meter.prices)
    answers = Line(turns=10, with_llm=4, resolved=8, escalated=1, cost=2.0)
    desk.spent = desk.spent.model_copy(update={"lanes": {"answer": answers}})
    desk.meter.heard(LlmCall("synthesizer", "big", "ok", Usage(1_000_000, 500_000)))
    desk.meter.heard(LlmCall("planner", "new", "timeout", Usage(10, 0)))

    told = (await client.get("/v1/economics", headers=operator)).json()

    assert (await client.get("/v1/economics")).status_code == 401
    assert (await client.get("/v1/economics?days=0", headers=operator)).status_code == 422
    total = told["spent"]["total"]
    assert (total["llm_share"], total["escalation_rate"]) == (0.4, 0.1)
    assert total["cost_per_resolved"] == 0.25
    assert told["baseline"]["cost"] > 0
    assert told["budgets"] == {
        "limits": {"day": 20.0, "customer": 0.0, "turn": 0.0},
        "spent_today": 0.0,
        "refused": {},
    }
    process = told["process"]
    assert (process["calls"], process["failed"], process["unpriced"]) == (2, 1, ["new"])
    assert process["cost_by_role"] == {"synthesizer": 6.0}
    assert process["tokens"]["big"] == {"input": 1_000_000, "cached": 0, "output": 500_000}


def test_our_own_model_costs_nothing():
    """The shipped price file can be read, and knows the embedded model."""
    from app.models.embedded import MODEL

    assert read_prices().cost(LlmCall("planner", MODEL, "ok", Usage(1000, 1000))) == 0


@pytest.mark.parametrize("path", ["/", "/desk", "/health", "/ready", "/info", "/metrics"])
async def test_head_is_answered_as_get_without_the_body(client: httpx.AsyncClient, path: str):
    """Load balancers and uptime checks ask with HEAD."""
    asked, got = await client.head(path), await client.get(path)

    assert asked.status_code == got.status_code == 200
    assert asked.content == b""
    assert asked.headers["content-type"] == got.headers["content-type"]
    counted = (await client.get("/metrics")).text
    assert 'signalbox_http_requests_total{code="200",method="HEAD"} 1.0' in counted
