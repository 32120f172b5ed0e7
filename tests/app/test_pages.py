"""The chat page and the operator desk in a real Chromium, over a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.drift import Comparison, Shift
from app.drift_watch import Drift, Window
from tools.values import Twin

from .browser import chromium, enter, open_desk, playwright, say, tab, take
from .conftest import Served
from .fake_desk import RULES, FakeDesk

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator:
    async with chromium() as started:
        yield started


@pytest.fixture
async def page(browser, live: Served) -> AsyncIterator:
    async with tab(browser, live) as page:
        yield page


async def test_a_conversation(page):
    """Log in, ask, and see what was understood, the reply, its sources and which lane it took."""
    await enter(page)
    await say(page, "How long is delivery?")

    await page.get_by_text("Understood: a question about “How long is delivery?”").wait_for()
    await page.get_by_text("You said: How long is delivery?").wait_for()
    await page.get_by_text("knowledge answer").wait_for()
    await page.get_by_text("0 LLM calls").wait_for()
    await page.get_by_text("1 source").click()
    assert await page.get_by_text("delivery.md").is_visible()
    await page.get_by_role("button", name="How long is delivery?").wait_for()  # in the list


async def test_tokens_show_while_they_come(page, desk: FakeDesk):
    """Part of the reply is on the page before the turn has ended."""
    desk.pace = 0.05
    await enter(page)
    await say(page, "one two three four five six seven?")

    bubble = page.locator(".said.agent[aria-busy] .bubble", has_text="You said: one")
    await bubble.wait_for()
    assert "working days" not in await bubble.inner_text()
    await page.locator(".said.agent:not([aria-busy])").wait_for()


async def test_a_second_click_on_send_does_nothing(page, desk: FakeDesk):
    """Enter and clicks while a turn runs play no second turn."""
    await enter(page)
    field = page.get_by_label("Your message")
    await field.fill("wait for me")
    await page.evaluate(
        "() => { const form = document.getElementById('form'); form.requestSubmit();"
        " form.requestSubmit(); document.getElementById('send').click(); }"
    )
    await field.press("Enter")
    desk.go.set()
    await page.get_by_text("You said: wait for me").wait_for()

    assert desk.started == ["wait for me"]
    assert await page.locator(".said.customer").count() == 1


async def test_trying_again_after_a_failure(page, desk: FakeDesk):
    """A failed turn keeps the message and offers another try."""
    await enter(page)
    await say(page, "give up")

    await page.get_by_text("That took too long.").wait_for()
    await page.get_by_role("button", name="Try again").click()
    await page.get_by_text("That took too long.").wait_for()
    assert await page.locator(".said.customer").count() == 1


async def test_markup_stays_text(page):
    """What a customer writes is never markup, in the page or in the list of threads."""
    await enter(page)
    await say(page, "<img src=x onerror=alert(1)><b>bold</b>")

    await page.locator(".said.agent", has_text="<b>bold</b>").wait_for()
    assert await page.locator("img[src=x]").count() == 0
    assert await page.locator(".bubble b").count() == 0


async def test_a_conversation_survives_a_reload(page):
    """History, sources and the waiting approval are there again."""
    await enter(page)
    await say(page, "refund please?")
    await page.get_by_text("Waiting for a colleague's approval").wait_for()
    await page.reload()

    await page.get_by_text("You said: refund please?").wait_for()
    await page.get_by_text("Waiting for a colleague's approval").wait_for()
    assert await page.locator(".said.customer").count() == 1


async def test_an_approval_from_both_sides(page, browser, live: Served):
    """The operator sees exact arguments, effects and the rule; the outcome reaches the open chat."""
    await enter(page)
    await say(page, "refund please")
    await page.get_by_text("Waiting for a colleague's approval").wait_for()

    context = await browser.new_context(base_url=live.url)
    operator = await context.new_page()
    operator.set_default_timeout(8000)
    await open_desk(operator)
    await operator.get_by_role("cell", name="84.90", exact=True).wait_for()
    await operator.get_by_text("84.90 EUR go back to the card").wait_for()
    await operator.get_by_text("Asked because: money leaves the shop").wait_for()
    await operator.get_by_label("Note on Order SB-10482").fill("photo seen")
    await operator.get_by_role("button", name="Approve").click()
    await operator.get_by_text("Nothing waits.").wait_for()
    await operator.get_by_text("“photo seen”").wait_for()
    await context.close()

    await page.get_by_text("Your refund was approved.").wait_for()
    await page.get_by_text("Waiting for a colleague's approval").wait_for(state="detached")


async def test_the_desk_shows_the_rule_and_the_votes(page, live: Served, desk: FakeDesk):
    """Which rule asked and who said yes; a first yes leaves the sheet there, waiting for another person."""
    ana = (await desk.demo_customers())[0]
    desk._ask(ana, await desk.open_thread(ana), "turn", RULES["big refund"])
    for id, asked in desk._approvals.items():
        twin = Twin(id="act_twin", thread="th_other", status="pending")
        moved = asked.action.model_copy(update={"effects": ("Sent to Lindenweg 4\u202e nilreB",)})
        desk._approvals[id] = asked.model_copy(update={"twins": (twin,), "action": moved})
    await open_desk(page)

    sheet = page.locator("#approvals article")
    await sheet.get_by_text("only one can be approved").wait_for()
    await sheet.get_by_role("link", name="act_twin (pending)").wait_for()
    await sheet.get_by_text("Lindenweg 4⟨U+202E⟩ nilreB").wait_for()
    await sheet.get_by_text("refund above 500").wait_for()
    await sheet.get_by_text("rule of version 0a1b2c3d4e5f").wait_for()
    await sheet.get_by_text("0 of 2").wait_for()
    await sheet.get_by_placeholder("Note (optional)").fill("seen the photo")
    await sheet.get_by_role("button", name="Approve").click()

    await page.get_by_text("another person's is still needed").wait_for()
    await sheet.get_by_text("1 of 2").wait_for()
    await sheet.get_by_text("olga (agent): “seen the photo”").wait_for()
    await sheet.get_by_role("button", name="Approve").click()
    await page.get_by_text("You have approved this already").wait_for()
    assert "null" not in await sheet.inner_text()


async def test_a_note_being_written_survives_the_refresh(page, live: Served, desk: FakeDesk):
    """New approvals appear without touching the card an operator is typing in."""
    ana = (await desk.demo_customers())[0]
    thread = await desk.open_thread(ana)
    desk._ask(ana, thread, "turn")
    await open_desk(page)
    await page.get_by_label("Note on Order SB-10482").fill("half a no")
    desk._ask(ana, thread, "turn")

    await page.locator("#approvals .sheet").nth(1).wait_for()
    assert await page.get_by_label("Note on Order SB-10482").first.input_value() == "half a no"


async def test_a_payment_in_doubt_is_settled_at_the_desk(page, live: Served, desk: FakeDesk):
    """Shown only while there is one, with what the last look came to; gone when a person has said."""
    desk.doubt(await a_refund(desk))
    await open_desk(page, "/desk")
    await page.get_by_role("link", name="In doubt 1").click()
    await page.get_by_text("Refund of 89.50 EUR").wait_for()
    await page.get_by_text("It is not listed.").wait_for()
    await page.get_by_label("How you know").fill("not on the statement")
    await page.get_by_role("button", name="It did not").click()
    await page.get_by_text("Closed as not done").wait_for()
    await page.get_by_text("No payment is in doubt.").wait_for()
    assert [each.reason for each in desk.settled.values()] == ["olga: not on the statement"]


async def a_refund(desk: FakeDesk):
    ana = await desk.customer("ana")
    assert ana is not None
    thread = await desk.open_thread(ana)
    async for _ in desk.turns.play(ana, thread, "refund it"):
        pass
    return (await desk.approvals.listed())[0].action


async def test_a_wrong_operator_key(page):
    """The desk stays shut and says why."""
    await page.goto("/desk")
    await page.get_by_label("Operator key").fill("guess")
    await page.get_by_role("button", name="Open the desk").click()

    await page.get_by_text("This is not a valid operator key.").wait_for()
    assert not await page.locator("#app").is_visible()


async def test_hand_off_and_back(page, browser, live: Served, desk: FakeDesk):
    """The customer sees whose the conversation is, and what they say; the person answers twice, and what they
    are typing survives what the customer writes meanwhile, another conversation and a reload."""
    await enter(page)
    await say(page, "a person please")
    await page.get_by_text("One of them answers you here.").wait_for()

    context = await browser.new_context(base_url=live.url)
    operator = await context.new_page()
    operator.set_default_timeout(8000)
    await open_desk(operator, "/desk")
    await take(operator, "Ana Lindqvist")
    words = operator.get_by_label("Answer to the customer")
    await words.fill("One mom")
    await say(page, "are you there")
    await (
        operator.get_by_role("article", name="Ana Lindqvist")
        .get_by_text("are you there")
        .wait_for()
    )
    assert await words.input_value() == "One mom"
    await playwright.expect(words).to_be_focused()
    await operator.get_by_role("link", name="Approvals").click()
    await operator.get_by_text("Nothing waits.").wait_for()
    await operator.reload()
    await take(operator, "Ana Lindqvist")
    assert await words.input_value() == "One mom"

    await words.fill("One moment.")
    await words.press("Control+Enter")
    await page.get_by_text("One moment.").wait_for()
    await page.get_by_text("A colleague answers you here.").wait_for()
    await operator.get_by_text("You answer this conversation.").first.wait_for()
    await playwright.expect(words).to_have_value("")
    await words.fill("Your tent is on its way.")
    await operator.get_by_role("button", name="Answer", exact=True).click()
    await page.get_by_text("Your tent is on its way.").wait_for()
    await operator.get_by_role("button", name="Give back to the agent").click()
    await operator.get_by_text("No conversation needs a person.").wait_for()
    assert "null" not in await operator.locator("#app").inner_text()
    await context.close()

    await playwright.expect(page.locator("#handed")).to_be_hidden()
    assert [said for _, _, said in desk.released] == [None]


async def test_the_inbox_says_who_waits_and_shows_the_whole_case(
    page, live: Served, desk: FakeDesk
):
    """Longest wait first, with name and time; the case file has customer, records, what was tried, notes."""
    for name in ("ben", "ana"):
        customer = await desk.customer(name)
        assert customer is not None
        thread = await desk.open_thread(customer)
        async for _ in desk.turns.play(customer, thread, f"a person please, says {name}"):
            pass
        desk.handed_off[thread] = datetime.now(UTC) - timedelta(minutes=5 if name == "ana" else 65)
    await open_desk(page, "/desk")
    waiting = page.locator("#handoffs li")
    await playwright.expect(waiting).to_have_count(2)
    assert "Ben Okafor" in await waiting.first.inner_text()
    assert "waits 1 h 5 min" in await waiting.first.inner_text()
    assert "waits 5 min" in await waiting.last.inner_text()
    assert await page.title() == "(2) Inbox · Operator desk"

    await take(page, "Ben Okafor")
    file = page.get_by_role("complementary", name="Case file")
    for told in (
        "Ben Okafor asked for a person.",
        "ben@mail.example",
        "SB-10482",
        "understood as: Refund an order (0.97, small encoder)",
        "T-70013",
    ):
        await file.get_by_text(told).first.wait_for()
    await page.get_by_label("A note; the customer never sees it").fill("Called him.")
    await page.get_by_role("button", name="Note", exact=True).click()
    await file.get_by_text("Called him.").wait_for()
    await file.get_by_text("olga").wait_for()


async def test_a_long_conversation_is_open_at_its_end(page, live: Served, desk: FakeDesk):
    """The last message and the field for the answer are in sight, by a click and by its address."""
    ana = (await desk.demo_customers())[0]
    thread = await desk.open_thread(ana)
    for number in range(30):
        desk._say(thread, "customer", f"message {number}")
    async for _ in desk.turns.play(ana, thread, "a person please"):
        pass
    await open_desk(page, f"/desk#{thread}")
    last = page.get_by_role("article", name="Ana Lindqvist").last
    for _ in range(2):
        await playwright.expect(last.get_by_text("a person please")).to_be_in_viewport()
        answer = page.get_by_role("button", name="Answer", exact=True)
        await playwright.expect(answer).to_be_in_viewport()
        await page.get_by_role("link", name="Approvals").click()
        await page.get_by_text("Nothing waits.").wait_for()
        await take(page, "Ana Lindqvist")


async def test_two_operators_do_not_talk_over_each_other(
    page, browser, live: Served, desk: FakeDesk
):
    """Who comes second reads whose it is, keeps their words, and may take the conversation over."""
    ana = (await desk.demo_customers())[0]
    thread = await desk.open_thread(ana)
    async for _ in desk.turns.play(ana, thread, "a person please"):
        pass
    await open_desk(page, "/desk")
    await take(page, "Ana Lindqvist")
    await page.get_by_text("Nobody has taken this conversation yet.").wait_for()
    words = page.get_by_label("Answer to the customer")
    await words.fill("I look into it.")
    await desk.claim(thread, "quirin")
    await page.get_by_role("button", name="Answer", exact=True).click()

    await page.get_by_text("quirin has taken this conversation. You can read along").wait_for()
    assert await words.input_value() == "I look into it."
    await playwright.expect(page.get_by_role("button", name="Answer", exact=True)).to_be_disabled()
    await page.get_by_role("button", name="Take over").click()
    await page.get_by_text("You answer this conversation.").first.wait_for()
    await page.get_by_role("button", name="Answer", exact=True).click()
    await page.get_by_role("article", name="olga").get_by_text("I look into it.").wait_for()
    await page.get_by_role("button", name="Leave to the others").click()
    await page.get_by_text("Nobody has taken this conversation yet.").wait_for()
    assert desk.claims == {}


async def test_out_of_hours_both_sides_are_told_the_next_opening(
    page, browser, live, desk: FakeDesk
):
    """The customer reads when somebody is there; so does whoever looks into the inbox."""
    desk.opens_at = datetime.now(UTC) + timedelta(days=2)
    await enter(page)
    await say(page, "a person please")
    await page.get_by_text(
        "Nobody is there right now. A colleague answers you here from"
    ).wait_for()
    context = await browser.new_context(base_url=live.url)
    operator = await context.new_page()
    await open_desk(operator, "/desk")
    await take(operator, "Ana Lindqvist")
    await operator.get_by_text("Out of hours: the customer was told").wait_for()
    await context.close()


async def test_customers_read_words_for_people(page, desk: FakeDesk):
    """No sentence of the API's, whatever went wrong; and a draft that was not sent is there after a reload."""
    await enter(page)
    for status, words in {
        401: "Your session has ended.",
        404: "This conversation is not there any more.",
        409: "Your message is still being worked on.",
        413: "That message is too long.",
        422: "That message could not be sent.",
        429: "That was a little fast.",
        500: "Something on our side is not working right now.",
        503: "Something on our side is not working right now.",
    }.items():
        problem = (
            f'{{"status": {status}, "detail": "Idempotency-Key is still running: POST /v1/login"}}'
        )
        answer = {"status": status, "body": problem, "content_type": "application/problem+json"}

        async def refuse(route, _request, answer=answer) -> None:
            await route.fulfill(**answer)

        await page.route("**/v1/chat", refuse)
        await say(page, "hello")
        await page.get_by_text(words).last.wait_for()
        assert "Idempotency" not in await page.locator("body").inner_text()
        await page.unroute("**/v1/chat")
        if status == 401:
            await playwright.expect(page.locator("#door-title")).to_be_focused()
            await page.get_by_role("button", name="Ana Lindqvist").click()
            await playwright.expect(page.get_by_label("Your message")).to_be_focused()
    await page.get_by_label("Your message").fill("half a sen")
    await page.reload()
    await playwright.expect(page.get_by_label("Your message")).to_have_value("half a sen")


async def test_a_customer_rates_an_answer(page, desk: FakeDesk):
    """Helpful or not, and why; it is there again after a reload, the last word counts, a failure says so and
    keeps what was written."""
    await enter(page)
    await say(page, "How long is delivery?")
    rating = page.get_by_role("group", name="Did this answer help?")
    helpful = rating.get_by_role("button", name="Helpful", exact=True)
    await helpful.click()
    await rating.get_by_text("Thank you.").wait_for()
    assert desk.rated == {"turn-1": (True, "")}

    await page.reload()
    await playwright.expect(helpful).to_have_attribute("aria-pressed", "true")
    await rating.get_by_role("button", name="Not helpful").click()
    why = rating.get_by_label("What was missing?")
    await playwright.expect(why).to_be_focused()
    assert desk.rated == {"turn-1": (False, "")}

    await why.fill("A date")
    await page.route("**/ratings", lambda route: route.fulfill(status=503, body="{}"))
    await why.press("Enter")
    await rating.get_by_text("That could not be kept. Please try again.").wait_for()
    await page.unroute("**/ratings")
    await playwright.expect(why).to_have_value("A date")
    await rating.get_by_role("button", name="Tell us").click()
    await playwright.expect(why).to_be_hidden()
    assert desk.rated == {"turn-1": (False, "A date")}
    await playwright.expect(helpful).to_have_attribute("aria-pressed", "false")


async def test_who_says_what_is_said_in_words(page):
    """A screen reader hears the sender, not only a colour and a side."""
    await enter(page)
    await say(page, "hello there")

    await page.get_by_role("article", name="You").wait_for()
    await page.get_by_role("article", name="The assistant").wait_for()


async def test_threads_are_kept_apart(page):
    """A new conversation is empty; the old one comes back with its messages."""
    await enter(page)
    await say(page, "first topic")
    await page.get_by_text("You said: first topic").wait_for()
    # A conversation is not left in the middle of a turn: the click would be let go.
    await playwright.expect(page.get_by_role("button", name="Send")).to_be_enabled()
    await page.get_by_role("button", name="New conversation").click()
    await page.get_by_role("heading", name="Hello Ana").wait_for()
    assert await page.get_by_text("You said: first topic").count() == 0
    await page.get_by_role("button", name="first topic").click()

    await page.get_by_text("You said: first topic").wait_for()


async def test_an_expired_session_leads_to_the_door(page):
    """Without a valid session the page asks who it is, instead of breaking."""
    await enter(page)
    await page.get_by_label("Your message").fill("hello")
    await page.context.clear_cookies()
    # A key, not a click: the page's own polling may have led to the door already.
    await page.keyboard.press("Enter")

    await page.get_by_role("heading", name="Who are you today?").wait_for()


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("path", ["/", "/desk", "/desk#approvals", "/desk/models", "/desk/answers"])
async def test_narrow_screens_do_not_scroll_sideways(page, desk: FakeDesk, width: int, path: str):
    """Both pages fit a phone."""
    await page.set_viewport_size({"width": width, "height": 720})
    ana = (await desk.demo_customers())[0]
    thread = await desk.open_thread(ana)
    desk._ask(ana, thread, "turn")
    async for _ in desk.turns.play(ana, thread, "a person please " + "x" * 120):
        pass
    if path == "/":
        await enter(page)
        await say(page, "How long? " + "x" * 120)
        await page.locator(".said.agent:not([aria-busy])").wait_for()
    else:
        await open_desk(page, path)
        if path == "/desk":
            await take(page, "Ana Lindqvist")

    wide = "document.scrollingElement.scrollWidth > document.scrollingElement.clientWidth"
    assert not await page.evaluate(wide)


async def test_an_operator_withdraws_an_answer(page, desk: FakeDesk):
    """It is read with its articles and how often it was given; withdrawn, it says by whom. Nothing there is told."""
    await open_desk(page, "/desk/answers")
    given = page.locator("#answers .sheet")
    await given.get_by_text("How much does a return label cost?").wait_for()
    await given.get_by_text("From Labels. Given again 3 times").wait_for()
    await given.get_by_role("button", name="Withdraw").click()

    await page.get_by_text("No answer is given again.").wait_for()
    withdrawn = page.locator("#withdrawn .sheet")
    await withdrawn.get_by_text("until an article changes", exact=True).wait_for()
    await withdrawn.get_by_text("olga").wait_for()
    assert desk.cached["a1"].withdrawn_by == "olga"


def test_every_file_of_the_pages_is_ours():
    """No page names another host."""
    web = Path(__file__).parents[2] / "app" / "web"
    named = [
        file.name
        for file in web.iterdir()
        if "http" in file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        and file.suffix != ".js"
    ]

    assert named == []


async def test_the_desk_shows_drift_and_takes_labels(page, desk: FakeDesk) -> None:
    """A drawn sample is labelled with buttons; an alarm names the intent; decisions are filtered and paged."""
    found = Comparison(
        messages=300,
        reference=2000,
        p={"intents": 0.003, "abstentions": 0.4, "words": 0.02},
        abstained_now=0.2,
        shifts=(Shift(intent="warranty_claim", then=0.01, now=0.12, p=0.001),),
        alarm=True,
    )
    window = Window(window="count", against="the traffic before", comparison=found)
    desk.drift = Drift(at=datetime(2026, 11, 22, 9, tzinfo=UTC), windows=(window,))
    await open_desk(page, "/desk/models")

    drift = page.locator("#drift")
    await drift.get_by_text("not like before").wait_for()
    await drift.get_by_text("warranty_claim").wait_for()

    await page.get_by_role("button", name="Draw 100 of the last 7 days").click()
    review = page.locator("#review")
    await review.get_by_text("message 1", exact=True).wait_for()
    await review.get_by_role("button", name="track parcel").click()
    await review.get_by_text("message 2", exact=True).wait_for()
    await review.get_by_label("Another intent").select_option("ask_hours")
    await review.get_by_text("message 3", exact=True).wait_for()
    await review.get_by_role("button", name="Cannot tell").click()
    await review.get_by_text("message 4", exact=True).wait_for()
    labelled = [(each.label, each.skipped) for each in list(desk.sampled.values())[:3]]
    assert labelled == [("track_parcel", False), ("ask_hours", False), (None, True)]

    async with page.expect_response(lambda r: "outcome=corrected" in r.url):
        await page.get_by_label("Outcome").select_option("corrected")
    assert desk.asked[-1].outcome == "corrected"
