"""What whoever answers is handed: the records a turn is about, what waits, and the rules that apply to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from graphs import replies
from graphs.context import Context
from graphs.orders import for_a_prompt
from graphs.state import SupportState
from tools.ports import BackendUnavailable, Passage
from tools.records import RecordView
from tools.values import Approval

#: Where a passage comes from that is no article but this customer's own affair: never given to somebody else.
OWN = "case file"
#: So many records are shown; who is upset may have more, and a person sees them all.
_MOST = 3
#: Somebody speaks of a thing of their own, in the languages that values are read in.
_MINE = re.compile(
    r"\b(?:my|our|mine|i(?:'ve| have)? (?:bought|ordered|got|received)|mein\w*|unser\w*|mon|ma|mes|notre|nos|mis?|nuestr\w*"
    r"|mio|mia|miei|nostr[oaie]|mijn|onze|meus?|minhas?|nosso|nossa)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class CaseFile:
    """One turn's, as numbered sources that an answer can cite."""

    sources: tuple[Passage, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join(f"{each.title}: {each.text}" for each in self.sources)


async def case_file(state: SupportState, context: Context, *, open_ones: bool = False) -> CaseFile:
    """The case file of a turn; with ``open_ones`` what is still open stands for a record that was not named.

    What cannot be read is left out: the file says less then, and nothing wrong."""
    try:
        views = await context.backend.records(context.customer)
        waiting = await context.approvals.waiting(context.customer)
    except BackendUnavailable:
        return CaseFile()
    meant = about(state, views)
    if not meant and open_ones:
        meant = [view for view in views if view.open and view.parent is None][:_MOST]
    known = {view.id for view in meant}
    beside = [view for view in views if view.parent in known and view.id not in known]
    return CaseFile(
        (
            *[await _record(view, context) for view in [*meant, *beside[:_MOST]]],
            *(_waits(one, context) for one in waiting[:_MOST]),
            *_rules(state, context, meant, views),
        )
    )


def about(state: SupportState, views: Sequence[RecordView]) -> list[RecordView]:
    """The records that the message names or is about, else the one in focus where it leans on it."""
    route, text = state.get("route"), state["turn"].text
    grounds = [act.grounds for act in route.acts] if route is not None else []
    ids = {id for ground in grounds for id in ground.records}
    named = [view for view in views if view.id in ids or view.id.casefold() in text.casefold()]
    if not named and _MINE.search(text):
        said = {_bare(word) for word in _WORD.findall(text)}
        named = [view for view in views if said & _things(view)]
    if not named and any(ground.how == "focus" for ground in grounds):
        named = [view for view in views if view.id == state.get("focus")]
    return named[:_MOST]


def _things(view: RecordView) -> set[str]:
    """What the things in a record are called, in any language; numbers tell nothing."""
    words = {word for item in view.items for said in item.words for word in _WORD.findall(said)}
    return {_bare(word) for word in words if len(word) > 3 and not word.isdigit()}


def _bare(word: str) -> str:
    folded = word.casefold()
    return folded[:-1] if len(folded) > 3 and folded.endswith("s") else folded


async def _record(view: RecordView, context: Context) -> Passage:
    parts = [f"State: {view.state}."]
    parts += [
        f"{name.replace('_', ' ').capitalize()}: {day.isoformat()}."
        for name, day in view.dates.items()
    ]
    for item in view.items:
        price = f", {item.price} {view.currency} each" if item.price is not None else ""
        parts.append(f"{item.quantity} x {await _shown(item.name, context)}{price}.")
    if view.amount is not None:
        parts.append(f"Amount: {view.amount} {view.currency}.")
    parts += [
        f"{name.replace('_', ' ').capitalize()}: {await _shown(value, context)}."
        for name, value in view.facts.items()
        if isinstance(value, str | int | float | bool) and value != ""
    ]
    title = await _shown(view.label, context)
    return Passage(id=f"own:{view.id}", text=" ".join(parts), title=title, source=OWN)


#: A value of fewer words is a number, a day or a name.
_FEW = 4


async def _shown(value: str | float, context: Context) -> str:
    """A value of a record, which anybody may have written: not shown where it gives orders."""
    said = str(value)
    return said if len(said.split()) < _FEW else await for_a_prompt(context, said)


def _waits(one: Approval, context: Context) -> Passage:
    operation = context.operations.get(one.action.operation)
    title = replies.title(operation) if operation is not None else one.action.operation
    text = f"{title}: {one.action.label}. It waits for a colleague's decision; nothing has been done yet."
    return Passage(id=f"own:{one.id}", text=text, title="Waiting for approval", source=OWN)


def _rules(
    state: SupportState, context: Context, meant: Sequence[RecordView], views: Sequence[RecordView]
) -> list[Passage]:
    """What the business's rules allow for the record, where the turn is about such a case."""
    route = state.get("route")
    if context.cases is None or route is None or route.act is None or len(meant) != 1:
        return []
    intent = context.intents.get(route.act.intent)
    name = intent.case or intent.about_record
    if name is None:
        return []
    advice = context.cases.advise(
        name,
        record=meant[0],
        others=views,
        parts=route.act.grounds.parts,
        customer=context.customer,
        today=context.clock.today(),
        language=context.language,
    )
    return [Passage(id=f"own:{name}", text=advice.text, title="What our rules allow", source=OWN)]
