"""What is kept in SQL, in one hand."""

from __future__ import annotations

from dataclasses import dataclass

from app.stores.access import SqlAccess
from app.stores.actions import SqlActions
from app.stores.answers import SqlAnswers
from app.stores.approvals import SqlApprovals
from app.stores.decisions import SqlDecisionLog
from app.stores.holds import SqlHolds
from app.stores.outbox import SqlOutbox
from app.stores.requests import SqlRequests
from app.stores.reviews import SqlReviews
from app.stores.traces import SqlRatings, SqlTraces
from app.stores.turns import SqlThreads, SqlTurns
from app.stores.usage import SqlUsage
from app.stores.waiting import SqlWaiting


@dataclass(frozen=True)
class Stores:
    """The stores of one database, for whoever opens a desk on it."""

    actions: SqlActions
    approvals: SqlApprovals
    decisions: SqlDecisionLog
    reviews: SqlReviews
    outbox: SqlOutbox
    requests: SqlRequests
    turns: SqlTurns
    holds: SqlHolds
    threads: SqlThreads
    waiting: SqlWaiting
    traces: SqlTraces
    ratings: SqlRatings
    access: SqlAccess
    usage: SqlUsage
    answers: SqlAnswers
