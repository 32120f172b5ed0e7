"""The answer lane: retrieve, prune, synthesize; quote or admit when that does not work out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from langgraph.runtime import Runtime

import prompts
from graphs import replies
from graphs.answering import (
    ENGLISH,
    SHARE,
    Leaning,
    Part,
    Readings,
    called,
    chosen,
    core_of,
    in_context,
    nearer,
    of_parts,
    parts_of,
    together,
    worded,
)
from graphs.casefile import OWN, case_file
from graphs.checked import Checked
from graphs.context import Context
from graphs.deciding import by_rule, decided, log, ms_since
from graphs.nodes.converse import transcript
from graphs.nodes.turn import in_full, just_told, offer_hand_off
from graphs.sameness import owned, personal, points, stands_alone
from graphs.state import Draft, Route, SupportState
from graphs.understanding.clauses import mentions
from graphs.understanding.heard import records_known
from graphs.validation import says_unknown
from tools.decisions import Alternative, Decision
from tools.injection import instructs
from tools.intents import Intent
from tools.ports import Knowledge, Passage, PortError
from tools.records import RecordView

#: Sentences that are asked of the search for single ones.
NEAREST = 8
#: The same where a question follows an answer, and what was told is left out.
FOLLOWING = 24


async def recall(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """An answer given before serves the same question again, where it is about no one in particular."""
    context, turn = runtime.context, state["turn"]
    if context.answers is None or not shareable(state, context):
        return {"draft": None}
    started = time.perf_counter()
    known = await context.answers.find(turn.text, scope(state, context))
    if known is None:
        return {"draft": None}
    await log(
        runtime,
        state,
        Decision(
            role="answer cache",
            chosen=known.how,
            probability=known.nearness,
            reason=f"answered before: {known.question}",
            tier="encoder" if known.how == "semantic" else "rule",
            model="answer cache",
            ms=ms_since(started),
        ),
    )
    runtime.stream_writer({"event": "token", "data": {"text": known.text}})
    draft = Draft(text=known.text, source="large", passages=known.passages, known=known.how)
    return {"draft": draft, "passages": known.passages}


async def retrieve(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    context = runtime.context
    question = await in_full(state, context)
    try:
        found = await _retrieved(question, context)
    except PortError as error:
        degraded = (*state.get("degraded", ()), f"knowledge: {error}")
        return {"question": question, "passages": (), "degraded": degraded}
    return {"question": question, "passages": tuple(found)}


async def _retrieved(question: str, context: Context) -> Sequence[Passage]:
    """What the pruner is to read, who reads English only; of all languages where nothing is in it."""
    asked: dict[str, Any] = {
        "limit": context.limits.retrieved_chunks,
        "tenant": context.customer.tenant,
    }
    found = await context.knowledge.retrieve(question, language=ENGLISH, **asked)
    return found or await context.knowledge.retrieve(question, **asked)


async def prune(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Keep the few chunks worth reading; none above the floor means that we do not know."""
    context, passages = runtime.context, state.get("passages", ())
    try:
        kept = await answering(
            state, runtime, question_of(state), passages, context.limits.kept_chunks
        )
    except LookUpFailed as error:
        return {"passages": (), "degraded": (*state.get("degraded", ()), f"pruner: {error}")}
    route = state.get("route")
    if (
        route is not None
        and route.otherwise
        and not near_enough(kept, _least(state, route, context))
    ):
        return {"passages": ()}
    return {"passages": tuple(kept)}


#: So near must be what answers a message of which nobody is sure that it asks the articles anything; less will do for
#: one that the heads take for a question to them, and for one that follows what a case was told.
UNASKED, HALF_SURELY, ASKED_ON = 0.42, 0.35, 0.32


def near_enough(kept: Sequence[Passage], least: float = UNASKED) -> bool:
    """Whether what was found is near enough to be said to who may not have asked for it."""
    return max((p.score for p in kept), default=0.0) >= least


def _least(state: SupportState, route: Route, context: Context) -> float:
    act = route.act
    if route.otherwise == "advise" and act is not None and act.intent == state.get("wanted"):
        return ASKED_ON
    return HALF_SURELY if context.intents.lane(route.intent) == "answer" else UNASKED


async def answering(
    state: SupportState,
    runtime: Runtime[Context],
    question: str,
    found: Sequence[Passage] | None,
    keep: int,
) -> tuple[Passage, ...]:
    """The passages that a question is answered from, part by part; ``found``: what was retrieved for it as a
    whole. Raises LookUpFailed; what cannot be logged is another failure, and ends the turn."""
    context = runtime.context
    own = state["turn"].text
    asked = own if question.endswith(f" {own}") else question
    conversation = await _leaning(state, context, question)
    answered: list[tuple[Passage, ...]] = []
    parts = parts_of(asked)
    for part in parts:
        leaning = conversation
        if part.before:
            leaning = _on_what_was_found(part, answered)
        elif asked != question:
            part = replace(part, before=question.removesuffix(own).strip())
        text = worded(part.whole, context.lexicon)
        known = found if found is not None and text == question else await _looked_up(text, context)
        answered.append(await _answering(state, runtime, text, part.text, known, keep, leaning))
    return of_parts(answered)


async def _leaning(state: SupportState, context: Context, question: str) -> Leaning | None:
    """What the conversation says that the question is about; None for one that says it itself."""
    own = state["turn"].text
    follows = question.endswith(f" {own}")
    said, articles = just_told(state)
    mine = owned(own)
    if not (follows or points(question) or mine):
        return None
    views, _ = await records_known(context)
    named = _named_record(mine, views, context)
    if not (follows or points(question) or named):
        return None
    if articles:
        titles = [": ".join(dict.fromkeys(articles.values()))]
    else:
        wanted = _wanted(state, context)
        case = wanted is not None and wanted.case is not None
        # After a case it is about how that goes on, and not about the thing.
        subject = named if case else named or _focus(state, views)
        titles = [subject, _as_wish(wanted)]
    known = tuple(title for title in titles if title)
    if not (follows or known):
        return None
    before = question.removesuffix(own).strip() if follows else ""
    return Leaning(before, known, said, frozenset(articles))


def _named_record(mine: Sequence[str], views: Sequence[RecordView], context: Context) -> str:
    """What the one record is that a question names by its kind only: "with my plan" is Care Plus."""
    for kind, words in context.lexicon.kinds.items():
        same = [view for view in views if view.kind == kind]
        if len(same) == 1 and same[0].parent is None and mentions(mine, words):
            return called(same[0])
    return ""


def _focus(state: SupportState, views: Sequence[RecordView]) -> str:
    """What the record that was talked about is, in the words that its customer reads."""
    return next((called(view) for view in views if view.id == state.get("focus")), "")


def _wanted(state: SupportState, context: Context) -> Intent | None:
    """The intent of the turn before."""
    wanted = state.get("wanted", "")
    return context.intents.get(wanted) if wanted in context.intents.names else None


def _as_wish(wanted: Intent | None) -> str:
    """What was wanted, as the question whether it is."""
    if wanted is None or wanted.role is not None:
        return ""
    return replies.intent_question(wanted).rstrip("?")


def _on_what_was_found(part: Part, answered: Sequence[tuple[Passage, ...]]) -> Leaning | None:
    """A further question of the same message is about what the question before it is answered from."""
    best = next((found[0] for found in reversed(answered) if found), None)
    if best is None:
        return None
    article, _, section = best.title.partition(" > ")
    titles = (article, section) if section else (article,)
    return Leaning(part.before, titles, articles=frozenset({best.source}))


async def _answering(
    state: SupportState,
    runtime: Runtime[Context],
    question: str,
    own: str,
    found: Sequence[Passage],
    keep: int,
    leaning: Leaning | None,
) -> tuple[Passage, ...]:
    context = runtime.context
    kept = await kept_of(state, runtime, question, found, keep)
    language = _language(state, context)
    near = await _nearest(language, question, own, leaning, context)
    if language == ENGLISH:
        chosen_from = together(
            kept, near, question, context.lexicon, english=True, asked=_surely_asked(state, context)
        )
    else:
        # What is asked with its subject is as near to its answer as it gets.
        strict = leaning is None
        chosen_from = together((), near, question, context.lexicon, english=False, native=strict)
        if not chosen_from:
            # Their own language has nothing of it; the articles in English may.
            native = bool(near)
            near = await _nearest(ENGLISH, question, own, leaning, context) or near
            chosen_from = together(
                (), near, question, context.lexicon, english=False, native=native
            )
    if near:
        await log(runtime, state, _nearest_of(near, chosen_from, context.knowledge), input=question)
    return chosen_from


#: So sure must the heads be that a message asks the articles.
_SURELY = 0.6


def _surely_asked(state: SupportState, context: Context) -> bool:
    """Whether nobody doubts that the message is a question to the articles."""
    route = state.get("route")
    return (
        route is not None
        and not route.otherwise
        and context.intents.lane(route.intent) == "answer"
        and route.lane_probability >= _SURELY
    )


async def _nearest(
    language: str, question: str, own: str, leaning: Leaning | None, context: Context
) -> Sequence[Passage]:
    """The nearest sentences of the articles in this language. ``own``: the question without what stands before it.
    Raises LookUpFailed."""
    most = NEAREST if leaning is None else FOLLOWING

    async def near(text: str) -> Sequence[Passage]:
        return await context.knowledge.nearest(
            text, limit=most, tenant=context.customer.tenant, language=language
        )

    try:
        found = await near(question)
        if leaning is None:
            core = core_of(question)
            return found if core == question else nearer(found, await near(core))
        titled: Sequence[Passage] = ()
        for title in leaning.titles or ("",):
            titled = nearer(titled, await near(f"{title}: {own}" if title else own), weight=1.0)
        bare = found if question == own else await near(own)
        return in_context(Readings(found, titled, bare), leaning.said, leaning.articles)
    except PortError as error:
        raise LookUpFailed(str(error)) from error


def _language(state: SupportState, context: Context) -> str:
    return state.get("language") or context.language


def _in_english(state: SupportState, context: Context) -> bool:
    return _language(state, context) == ENGLISH


def foreword(state: SupportState, context: Context, passages: Sequence[Passage]) -> str:
    """What is said before sentences that are not in the customer's language."""
    language = _language(state, context)
    if language == ENGLISH or all(passage.language == language for passage in passages):
        return ""
    return replies.in_english(language)


def question_of(state: SupportState) -> str:
    """What was looked up; a turn that an earlier version began has it not."""
    return state.get("question") or state["turn"].text


class LookUpFailed(PortError):
    """The knowledge did not answer."""


async def _looked_up(question: str, context: Context) -> Sequence[Passage]:
    try:
        return await _retrieved(question, context)
    except PortError as error:
        raise LookUpFailed(str(error)) from error


class PrunerFailed(LookUpFailed):
    """The pruner did not answer, and that is in the log."""


async def kept_of(
    state: SupportState,
    runtime: Runtime[Context],
    question: str,
    passages: Sequence[Passage],
    keep: int,
) -> Sequence[Passage]:
    """The chunks worth reading, logged before anybody reads them. Raises PrunerFailed."""
    return await decided(
        runtime, "pruner", lambda who: _kept_of(state, who, question, passages, keep)
    )


async def _kept_of(
    state: SupportState,
    runtime: Runtime[Context],
    question: str,
    passages: Sequence[Passage],
    keep: int,
) -> Sequence[Passage]:
    knowledge, started = runtime.context.knowledge, time.perf_counter()
    try:
        kept = await knowledge.prune(question, passages, keep=keep)
    except PortError as error:
        nothing = by_rule("pruner", "nothing", str(error), abstained=True, ms=ms_since(started))
        await log(runtime, state, nothing, input=question)
        raise PrunerFailed(str(error)) from error
    said = pruned(passages, kept, knowledge).model_copy(update={"ms": ms_since(started)})
    await log(runtime, state, said, input=question)
    return kept


async def synthesize(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The LLM writes a cited answer from the kept sentences, token by token."""
    context, passages = runtime.context, state.get("passages", ())
    previous = state.get("draft")
    if not context.large_decides and not _in_english(state, context):
        # The embedded model only quotes, and the customer is told first that the articles are in English.
        await log(runtime, state, by_rule("synthesizer", "quotes", "in English", abstained=True))
        return {"draft": None}
    asking, started = prompts.load("synthesizer"), time.perf_counter()
    history, question = transcript(state, context), state["turn"].text
    if context.large_decides:
        passages = (*whole(passages), *(await case_file(state, context)).sources)
    messages = asking.messages(
        shop=replies.business(),
        unknown_reply=replies.unknown(),
        passages=shown(passages),
        history=history,
        today=context.clock.today().isoformat(),
        refused=refused(state),
        question=question,
    )
    quotable = best_quotes(passages, _most(state))
    if previous is not None:
        runtime.stream_writer({"event": "token", "data": {"text": "", "reset": True}})
    writing = context.large.write(
        "synthesizer",
        messages.system,
        messages.user,
        quotes=quotable,
        bare="\n".join([*quotable, "", f"Question: {question_of(state)}", "Answer:"]),
    )
    draft = Draft(
        text="",
        source="large",
        passages=passages,
        attempt=1 if previous is None else previous.attempt + 1,
        given=f"{question}\n{question_of(state)}\n{history}\n{context.clock.today().isoformat()}",
        foreign=not _in_english(state, context),
    )
    checked = Checked(draft, context, say=runtime.stream_writer)
    calls = state.get("llm_calls", 0) + 1
    async with aclosing(cast("AsyncGenerator[str]", writing)):
        while checked.sound:
            try:
                token = await anext(writing, None)
            except PortError as error:
                said = by_rule(
                    "synthesizer", "quotes", str(error), abstained=True, ms=ms_since(started)
                )
                await log(runtime, state, said)
                return {
                    "draft": None,
                    "llm_calls": calls,
                    "degraded": (*state.get("degraded", ()), f"synthesizer: {error}"),
                }
            if token is None:
                break
            if not checked.text:
                # Its first word is an effect already: the customer reads it as it comes.
                await log(
                    runtime,
                    state,
                    Decision(
                        role="synthesizer",
                        chosen=f"answer from {', '.join(p.id for p in passages)}",
                        probability=1.0,
                        tier="large",
                        model=context.writer,
                        prompt=asking.version,
                        ms=ms_since(started),
                    ),
                )
            checked.take(token)
    text = checked.end()
    if says_unknown(text):
        # An honest no stays one; a person is offered with it.
        return {"draft": None, "passages": (), "llm_calls": calls}
    return {"draft": draft.model_copy(update={"text": text}), "llm_calls": calls}


def refused(state: SupportState) -> str:
    """Why the last draft may not be sent, for whoever writes it again."""
    validation = state.get("validation")
    if state.get("draft") is None or validation is None or validation.ok:
        return "nothing"
    return "\n".join(f"- {problem.detail}" for problem in validation.problems)


def whole(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Whole chunks: a model that can read them needs the fact beside the sentence that was nearest."""
    return tuple(p.model_copy(update={"sentences": (), "helps": (), "needs": ()}) for p in passages)


#: So sure must the validator be of an answer that others are given it too.
_MARGIN = 0.6


async def remember(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Keep a validated answer for the next who asks. One that a conversation came before may lean on it,
    a degraded one would outlive its reason, and one that hardly passed might be wrong."""
    context, draft, validation = runtime.context, state.get("draft"), state.get("validation")
    earlier = state.get("messages", [])[:-1]
    if (
        context.answers is not None
        and draft is not None
        and not (earlier or state.get("degraded"))
        and shareable(state, context)
        and not any(p.source == OWN for p in draft.passages)
        and validation is not None
        and (validation.groundedness or 0.0) >= _MARGIN
    ):
        await context.answers.keep(
            state["turn"].text, scope(state, context), draft.text.strip(), draft.passages
        )
    return {}


async def quote(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The synthesizer's fallback: the best kept sentences themselves, cited. Cannot be ungrounded."""
    passages = state.get("passages", ())
    text = " ".join(best_quotes(passages, _most(state)))
    before = foreword(state, runtime.context, passages)
    return {"draft": Draft(text=text, source="quotes", passages=passages, foreword=before)}


async def admit(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Nothing worth reading was found: say so and offer a person."""
    offer = offer_hand_off(
        state,
        reason="no_answer",
        question=replies.unknown_offer(),
    )
    return {
        "pending": (*state.get("pending", ()), offer),
        "draft": Draft(text=offer.question, asks=True),
    }


def shareable(state: SupportState, context: Context) -> bool:
    """Whether the answer depends on nothing but the question: not on this customer, nor on what was said
    before."""
    route, text = state.get("route"), state["turn"].text
    normal = route is not None and route.sensitivity == "normal"
    kinds = [word for words in context.lexicon.kinds.values() for word in words]
    own = mentions(owned(text), kinds)  # "my plan" is another plan for who asks next
    return normal and stands_alone(text) and not personal(text) and not own


def scope(state: SupportState, context: Context) -> tuple[str, ...]:
    """Everything beside the question that an answer depends on. The day is part of it: articles expire."""
    return (
        context.customer.tenant,
        "public",
        _language(state, context),
        context.knowledge.version,
        context.clock.today().isoformat(),
        prompts.load("synthesizer").version,
        context.writer,
    )


def pruned(found: Sequence[Passage], kept: Sequence[Passage], by: Knowledge) -> Decision:
    """What the pruner chose, for the log: who pruned, and which chunks give instructions to agents."""
    flagged = [p.id for p in found if instructs(p.text)]
    reason = f"{len(kept)} of {len(found)} chunks"
    if flagged:
        reason += f"; instructions in {', '.join(flagged)} were not read"
    return Decision(
        role="pruner",
        chosen=", ".join(p.id for p in kept) or "nothing",
        probability=max((p.score for p in kept), default=0.0),
        alternatives=tuple(Alternative(option=p.id, probability=p.score) for p in kept[:5]),
        abstained=not kept,
        reason=reason,
        tier="encoder",
        model=by.pruned_by,
        adapter=by.pruner_digest,
    )


def _nearest_of(near: Sequence[Passage], read: Sequence[Passage], by: Knowledge) -> Decision:
    """What the nearest sentences added, for the log."""
    ranked = sorted(near, key=lambda p: -p.score)
    return Decision(
        role="nearest sentences",
        chosen=", ".join(p.id for p in read) or "nothing",
        probability=min(max(max(p.score for p in near), 0.0), 1.0),
        alternatives=tuple(
            Alternative(option=p.id, probability=min(max(p.score, 0.0), 1.0)) for p in ranked[:5]
        ),
        abstained=not read,
        tier="encoder",
        model="multilingual sentences",
        adapter=by.version,
    )


def quotes(passages: tuple[Passage, ...]) -> list[str]:
    """The kept sentences, each with the citation it needs."""
    return [
        f"{sentence} [{n}]"
        for n, passage in enumerate(passages, 1)
        for sentence in (passage.sentences or (passage.text,))
    ]


def best_quotes(passages: Sequence[Passage], most: int = 3, *, share: float = SHARE) -> list[str]:
    """The sentences that answer best, cited, in the order to be said: all that a model that may only quote
    should have to choose from."""
    numbers = {passage.id: n for n, passage in enumerate(passages, 1)}
    return [
        # A row of a table is said without its rule.
        f"{line.text.lstrip('| ')} [{numbers[line.passage.id]}]"
        for line in chosen(passages, most, share=share)
    ]


#: So many sentences answer a question, and so many one of several parts.
_FEW, _MORE = 3, 4


def _most(state: SupportState) -> int:
    return _MORE if len(parts_of(state["turn"].text)) > 1 else _FEW


def shown(passages: tuple[Passage, ...]) -> str:
    """Numbered passages for a prompt, kept sentences only."""
    return "\n".join(
        f"[{n}] {p.title}{f' (updated {p.updated})' if p.updated else ''}: "
        f"{' '.join(p.sentences) or p.text}"
        for n, p in enumerate(passages, 1)
    )
