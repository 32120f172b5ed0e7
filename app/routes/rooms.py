"""The room of the desk that a route works in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from app.auth import DeskDep
from app.desk import ApprovalRoom, InboxRoom, PrivacyRoom, SignInRoom, TurnRoom, ViewRoom


async def _sign_in(desk: DeskDep) -> SignInRoom:
    return desk.sign_in


async def _turns(desk: DeskDep) -> TurnRoom:
    return desk.turns


async def _approvals(desk: DeskDep) -> ApprovalRoom:
    return desk.approvals


async def _inbox(desk: DeskDep) -> InboxRoom:
    return desk.inbox


async def _views(desk: DeskDep) -> ViewRoom:
    return desk.views


async def _privacy(desk: DeskDep) -> PrivacyRoom:
    return desk.privacy


SignInDep = Annotated[SignInRoom, Depends(_sign_in)]
TurnRoomDep = Annotated[TurnRoom, Depends(_turns)]
ApprovalRoomDep = Annotated[ApprovalRoom, Depends(_approvals)]
InboxDep = Annotated[InboxRoom, Depends(_inbox)]
ViewsDep = Annotated[ViewRoom, Depends(_views)]
PrivacyDep = Annotated[PrivacyRoom, Depends(_privacy)]
