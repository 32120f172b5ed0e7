"""The running agent: its rooms, furnished with the parts of one process."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.identity.sign_in import SignIn
from app.inbox import Inbox
from app.models.metering import Meter
from app.rooms.approvals import SupportApprovals
from app.rooms.deliveries import SupportDeliveries
from app.rooms.playing import Support, TurnPlayer
from app.rooms.turns import SupportTurns
from app.rooms.views import SupportViews
from app.spending import Budgets
from app.stores.access import SqlAccess
from app.tracing import Tracing

if TYPE_CHECKING:
    from app.drift_watch import DriftWatch
    from app.housekeeping import Housekeeping
    from app.identity.tokens import Reader
    from app.knowledge.library import Library
    from app.privacy import Privacy
    from app.release_watch import ReleaseWatch
    from app.shadow import Shadow
    from app.stores.ledger import SqlLedger
    from app.stores.stores import Stores
    from graphs.action import ActionGraph
    from graphs.context import Context
    from tools.domain import Books, Domain
    from tools.values import Customer


@dataclass(frozen=True)
class SupportDesk:
    """One process's agent; everything another process needs is in the stores and the saver."""

    sign_in: SignIn
    turns: SupportTurns
    approvals: SupportApprovals
    deliveries: SupportDeliveries
    inbox: Inbox
    views: SupportViews
    privacy: Privacy
    library: Library | None
    meter: Meter
    budgets: Budgets
    #: Per dependency: ``ok``, ``degraded`` or ``down`` with a reason.
    health: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]]
    #: Roles, models, digests, URLs, and what is embedded or off.
    info: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]]
    #: What the rooms stand on.
    stores: Stores
    player: TurnPlayer

    @property
    def access(self) -> SqlAccess:
        return self.stores.access


def furnished(
    *,
    support: Support,
    actions: ActionGraph,
    stores: Stores,
    ledger: SqlLedger,
    context_for: Callable[[Customer, str], Context],
    domain: Domain,
    books: Books,
    privacy: Privacy,
    health: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]],
    info: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]],
    tracing: Tracing | None = None,
    identity: Reader | None = None,
    meter: Meter | None = None,
    budgets: Budgets | None = None,
    intent_names: Callable[[], list[str]] = list,
    drift: DriftWatch | None = None,
    shadow: Shadow | None = None,
    releases: ReleaseWatch | None = None,
    library: Library | None = None,
    housekeeping: Housekeeping | None = None,
    wait_seconds: float = 25.0,
) -> SupportDesk:
    """A desk on these parts; what runs in the background runs when ``deliveries.running()`` is entered."""
    meter, budgets = meter or Meter(), budgets or Budgets(stores.usage)
    player = TurnPlayer(
        support,
        stores.threads,
        stores.outbox,
        stores.decisions,
        stores.usage,
        stores.holds,
        context_for,
        tracing or Tracing(),
        budgets,
        shadow,
    )
    approvals = SupportApprovals(
        player, actions, stores.approvals, stores.decisions, ledger, domain.operations
    )
    return SupportDesk(
        sign_in=SignIn(books.customers, identity),
        turns=SupportTurns(
            player, stores.turns, stores.threads, stores.ratings, stores.holds, wait_seconds
        ),
        approvals=approvals,
        deliveries=SupportDeliveries(
            player, approvals, stores.outbox, books.customers, privacy, drift, housekeeping
        ),
        inbox=Inbox(
            support=support,
            threads=stores.threads,
            approvals=stores.approvals,
            decisions=stores.decisions,
            actions=stores.actions,
            usage=stores.usage,
            holds=stores.holds,
            books=books,
            context_for=context_for,
        ),
        views=SupportViews(
            stores, books, domain.tenant, budgets, meter, intent_names, drift, shadow, releases
        ),
        privacy=privacy,
        library=library,
        meter=meter,
        budgets=budgets,
        health=health,
        info=info,
        stores=stores,
        player=player,
    )
