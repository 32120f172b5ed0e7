"""What the decision log and the reviews have measured of each intent."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine, Integer, case, cast, func, select

from app.scorecard import Measured
from app.stores.database import reading
from app.stores.tables import decisions, reviews
from tools.decisions import Aftermath
from tools.values import Clock

_BAD = [each.value for each in (Aftermath.FAILED, Aftermath.CORRECTED, Aftermath.REJECTED)]


def measured(
    engine: Engine, tenant: str, days: int, clock: Clock | None = None
) -> dict[str, Measured]:
    """By intent, of the last days: how often it was left open, failed, and was taken rightly."""
    since = (clock or Clock()).now() - timedelta(days=days)
    log, said = decisions.c, reviews.c
    settled = (log.role == "router", log.lane.is_not(None), log.shadow.is_(None))
    routed = select(
        log.chosen,
        func.count().label("messages"),
        func.sum(cast(log.abstained, Integer)).label("left_open"),
        func.count(log.outcome).label("ended"),
        func.sum(cast(case((log.outcome.in_(_BAD), 1), else_=0), Integer)).label("bad"),
    ).where(*settled, log.tenant == tenant, log.at >= since)
    labelled = select(
        said.label,
        func.count().label("labels"),
        # A sample takes more of what is rare; its weights make a share of it one of the traffic.
        func.sum(said.weight).label("all"),
        func.sum(case((said.label == said.chosen, said.weight), else_=0.0)).label("right"),
    ).where(said.tenant == tenant, said.label.is_not(None), said.at >= since)
    found = dict[str, Measured]()
    with reading(engine) as conn:
        for row in conn.execute(routed.group_by(log.chosen)):
            found[row.chosen] = Measured(
                messages=row.messages,
                left_open=row.left_open / row.messages,
                outcomes=row.ended,
                failed=row.bad / row.ended if row.ended else None,
            )
        for row in conn.execute(labelled.group_by(said.label)):
            before = found.get(row.label, Measured())
            figures = {"labels": row.labels, "accuracy": row.right / row.all}
            found[row.label] = before.model_copy(update=figures)
    return found
