"""The reviewers' room: questions for a person, their answers, and effects whose outcome nobody knows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from app.desk import (
    AlreadyVoted,
    ApprovalDecided,
    ApprovalNotFound,
    EditInvalid,
    EffectNotFound,
    EffectSettled,
    OwnEdit,
    RoleNotAccepted,
    TwinApproved,
)
from app.rooms.playing import TurnPlayer
from app.stores.approvals import SqlApprovals
from app.stores.decisions import SqlDecisionLog
from app.stores.fences import HoldLost
from app.stores.ledger import Settled, SqlLedger
from graphs.action import ActionGraph
from graphs.context import Context
from graphs.editing import edited
from graphs.state import Answer
from prompts.replies import speaking
from tools.decisions import Aftermath
from tools.ports import PortError
from tools.values import (
    Action,
    Approval,
    Operation,
    OperationFailed,
    Outcome,
    Preview,
    Reviewer,
    Unsettled,
    accepts,
)

log = logging.getLogger(__name__)


@dataclass
class SupportApprovals:
    """Takes reviewers' answers, carries them out, and tells the customer."""

    player: TurnPlayer
    actions: ActionGraph
    store: SqlApprovals
    decisions: SqlDecisionLog
    ledger: SqlLedger
    operations: Mapping[str, Operation]

    async def listed(
        self, status: str | None = "pending", limit: int = 50, *, tenant: str | None = None
    ) -> list[Approval]:
        return await self.store.list(status, limit, tenant=tenant)  # type: ignore[arg-type]

    async def decide(
        self, action_id: str, answer: Answer, *, tenant: str | None = None
    ) -> Approval:
        waiting = await self.store.get(action_id)
        if waiting is None or tenant not in (None, waiting.action.tenant):
            raise ApprovalNotFound
        if answer.decision == "edit":
            return await self._edit(waiting, answer)
        approval, changed = await self.store.decide(
            action_id,
            approve=answer.decision == "approve",
            reviewer=answer.reviewer,
            role=answer.role,
            note=answer.note,
        )
        if not changed:
            raise _unchanged(approval, answer)
        if approval.status != "pending":
            await self._judged_by_person(approval.action, answer)
            # The decision stands; whoever took over carries it out.
            with suppress(HoldLost):
                await self.carry_out(approval, answer)
        return await self.store.get(action_id) or approval

    async def _edit(self, waiting: Approval, answer: Answer) -> Approval:
        """Other arguments are another action: the old question is closed, the new one goes to the gate."""
        if waiting.status != "pending":
            raise ApprovalDecided(waiting)
        if answer.operation not in (None, waiting.action.operation):
            raise EditInvalid("an edit changes the arguments, not the operation")
        context = self.player.context(waiting.action.customer, waiting.action.thread)
        operation = context.operations[waiting.action.operation]
        with speaking(context.replies.voice(waiting.action.language or context.language)):
            reviewer = Reviewer(name=answer.reviewer, role=answer.role)
            action = await edited(waiting.action, operation, answer, context, by=reviewer)
        if isinstance(action, str):
            raise EditInvalid(action)
        action = await self._described(action, context)
        closed, changed = await self.store.replace(
            waiting.id, action, reviewer=answer.reviewer, role=answer.role, note=answer.note
        )
        if not changed:
            raise ApprovalDecided(closed)
        await self._judged_by_person(waiting.action, answer)
        with suppress(HoldLost):
            await self.succeed(closed, action)
        return await self.store.get(action.id) or closed

    async def succeed(self, closed: Approval, action: Action) -> None:
        """Bring the action that took a question's place to the gate; a second time changes nothing."""
        context = self.player.context(action.customer, action.thread)
        answer = Answer(decision="reject", reviewer=closed.reviewer or "")
        await self.actions.resume(closed, answer, context)
        outcome = await self.actions.propose(action, context)
        if outcome.settled:
            await self.player.tell(action, outcome)
        await self.store.succeeded(closed.id)

    async def _judged_by_person(self, action: Action, answer: Answer) -> None:
        """The operator's answer is what came of the decisions that led to the action."""
        said = f"{answer.decision} by {answer.reviewer}" + (
            f": {answer.note}" if answer.note else ""
        )
        aftermath = {
            "approve": Aftermath.RESOLVED,
            "edit": Aftermath.EDITED,
            "reject": Aftermath.REJECTED,
        }[answer.decision]
        try:
            await self.decisions.outcome(action.turn, aftermath, said)
            await self.player.usage.outcome(action.turn, aftermath)
        except PortError as error:
            log.warning("what came of action %s is not in the decision log: %s", action.id, error)

    async def _described(self, action: Action, context: Context) -> Action:
        """The edited action with what it would do now; what the rules refuse is no valid edit."""
        operation = context.operations[action.operation]
        try:
            with speaking(context.replies.voice(action.language or context.language)):
                preview: Preview = await context.backend.preview(
                    action.customer, operation, operation.arguments.model_validate(action.arguments)
                )
        except OperationFailed as error:
            raise EditInvalid(str(error)) from error
        if preview.refusal is not None:
            raise EditInvalid(preview.refusal)
        return action.model_copy(
            update={"label": preview.record or action.label, "effects": preview.effects}
        )

    async def carry_out(self, approval: Approval, answer: Answer) -> None:
        action = approval.action
        context = self.player.context(action.customer, action.thread)
        async with self.player.tracing.turn(
            f"a_{action.id}",
            action.thread,
            action.customer.id,
            f"{answer.decision} {action.operation}",
            of=action.turn,
        ):
            outcome = await self.actions.resume(approval, answer, context)
        # What nobody knows yet is told when it is settled: one action has one outcome in the thread.
        if outcome.settled:
            await self.player.tell(action, outcome)

    async def unsettled(self, *, tenant: str | None = None) -> list[Unsettled]:
        return await self.ledger.unsettled(tenant=tenant)

    async def settle(
        self,
        action_id: str,
        operator: str,
        *,
        happened: bool,
        note: str | None = None,
        tenant: str | None = None,
    ) -> Outcome:
        try:
            action, outcome = await self.ledger.settle(
                action_id,
                self.operations,
                happened=happened,
                operator=operator,
                note=note,
                tenant=tenant,
            )
        except KeyError:
            raise EffectNotFound from None
        except Settled as error:
            raise EffectSettled(error.outcome) from None
        if outcome.status != "unknown":
            await self.player.tell(action, outcome)
        return outcome


def _unchanged(approval: Approval, answer: Answer) -> Exception:
    """Why a vote changed nothing."""
    if approval.status != "pending":
        return ApprovalDecided(approval)
    if not accepts(approval.verdict.reviewer, answer.role):
        return RoleNotAccepted()
    if approval.approved_twin is not None:
        return TwinApproved(approval)
    if approval.is_own_edit(answer.reviewer):
        return OwnEdit()
    return AlreadyVoted(approval)
