"""What the customer's own records add to sentences of the articles: "members pay nothing" to whose plan is paused."""

from __future__ import annotations

from functools import partial

from graphs.apart import apart
from graphs.context import Context
from graphs.state import Draft, SupportState
from graphs.understanding.grounding import Memory, ground
from graphs.understanding.heard import records_known, said_in
from tools.cases import Advice
from tools.records import RecordView


async def aside(state: SupportState, context: Context, draft: Draft) -> Advice | None:
    """The domain's aside to a quoted answer, about the record that the question names or the one of its kind;
    None where there is none, or where a large model answers, which is given the records themselves."""
    cases = context.cases
    if (
        cases is None
        or not draft.passages
        or context.large_decides
        or not cases.asides_to(draft.text)
    ):
        return None
    views, _ = await records_known(context)
    return cases.beside(
        draft.text,
        record=await _named(state, context, views),
        others=views,
        customer=context.customer,
        today=context.clock.today(),
        language=state.get("language") or context.language,
    )


async def _named(
    state: SupportState, context: Context, views: tuple[RecordView, ...]
) -> RecordView | None:
    """The one record whose number or contents the question names."""
    text = state["turn"].text
    ids = [view.id for view in views]
    reading = partial(context.reader.read, text, today=context.clock.today(), own_ids=ids)
    spans = await apart(text, reading)
    found = ground(
        said_in(text, spans),
        views,
        {view.kind for view in views if view.items and view.parent is None},
        lexicon=context.lexicon,
        memory=Memory(),
    )
    return next((view for view in views if view.id == found.record and found.how == "named"), None)
