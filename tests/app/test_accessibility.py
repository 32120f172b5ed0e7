"""Both pages, in every state, looked at by axe: WCAG 2.2 A and AA and its best practices, light and dark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.drift import Comparison, Shift
from app.drift_watch import Drift, Window

from .browser import chromium, enter, open_desk, playwright, say, tab, take
from .conftest import Served
from .fake_desk import FakeDesk

axe_core = pytest.importorskip("axe_playwright_python.async_playwright")
pytestmark = pytest.mark.browser

Look = Callable[[Any, str], Awaitable[None]]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator:
    async with chromium() as started:
        yield started


@pytest.fixture(params=["light", "dark"])
async def page(request, browser, live: Served) -> AsyncIterator:
    options = {"color_scheme": request.param, "reduced_motion": "reduce"}
    async with tab(browser, live, **options) as page:
        yield page


@pytest.fixture
def look() -> AsyncIterator | Any:
    """Collects what axe finds in each state; the test fails with all of it."""
    found: list[str] = []

    async def at(page: Any, state: str) -> None:
        result = await axe_core.Axe().run(page)
        for violation in result.response["violations"]:
            where = [node["target"] for node in violation["nodes"]][:4]
            found.append(f"{state}: {violation['id']} at {where}: {violation['help']}")

    yield at
    assert not found, "\n".join(found)


async def test_axe_finds_the_check_it_is_trusted_with(page, look) -> None:
    """A page with a fault is a violation; otherwise the tests below could not fail."""
    await page.goto("/")
    await page.locator(".person").first.wait_for()
    await page.evaluate("document.body.append(document.createElement('button'))")
    result = await axe_core.Axe().run(page)
    assert "button-name" in {each["id"] for each in result.response["violations"]}


async def test_the_chat_page(page, look: Look, desk: FakeDesk) -> None:
    """The door, the welcome, a conversation with sources and a waiting approval, a failure, a hand-off in and
    out of hours, the list on a phone."""
    await page.goto("/")
    await page.locator(".person").first.wait_for()
    await look(page, "door")
    await enter(page)
    await look(page, "welcome")
    await say(page, "How long is delivery?")
    await page.get_by_text("1 source").click()
    await page.get_by_text("delivery.md").wait_for()
    await look(page, "sources")
    await page.get_by_role("button", name="Not helpful").click()
    await page.get_by_label("What was missing?").wait_for()
    await look(page, "rated")
    await say(page, "refund please")
    await page.get_by_text("Waiting for a colleague's approval").wait_for()
    await page.locator(".said.agent[aria-busy]").wait_for(state="detached")
    await say(page, "give up")
    await page.get_by_role("button", name="Try again").wait_for()
    await look(page, "approval and failure")
    await say(page, "a person please")
    await page.get_by_text("One of them answers you here.").wait_for()
    (thread,) = desk.handed_off
    await desk.reply(thread, "olga", "I am here.")
    await page.get_by_text("A colleague answers you here.").wait_for()
    await page.get_by_text("I am here.").wait_for()
    await look(page, "with a colleague")
    desk.claims.clear()
    desk._retitle(thread, claimed=False)
    desk.opens_at = datetime.now(UTC) + timedelta(days=2)
    await page.get_by_text("Nobody is there right now.").wait_for()
    await look(page, "out of hours")
    await page.set_viewport_size({"width": 390, "height": 780})
    await page.get_by_role("button", name="Conversations", exact=True).click()
    await page.get_by_role("button", name="New conversation").wait_for()
    await page.locator(".thread .title").first.wait_for()
    await look(page, "the list on a phone")
    await page.get_by_role("button", name="Log out").click()
    await playwright.expect(page.locator("#door-title")).to_be_focused()
    await page.route("**/v1/login", lambda route: route.fulfill(status=500, body="{}"))
    await page.locator(".person").first.click()
    await page.get_by_text("Something on our side is not working right now.").wait_for()
    await look(page, "door with a notice")


async def test_the_inbox(page, look: Look, desk: FakeDesk) -> None:
    """The door and a wrong key, nothing to do, a waiting conversation, one's own, another's, a phone,
    approvals and payments in doubt."""
    await page.goto("/desk")
    await page.get_by_label("Operator key").fill("guess")
    await page.get_by_role("button", name="Open the desk").click()
    await page.get_by_text("This is not a valid operator key.").wait_for()
    await look(page, "door")
    await open_desk(page, "/desk")
    await page.get_by_text("No conversation needs a person.").wait_for()
    await look(page, "nothing to do")

    ana = (await desk.demo_customers())[0]
    thread = await desk.open_thread(ana)
    for text in ("refund it", "a person please"):
        async for _ in desk.turns.play(ana, thread, text):
            pass
    await desk.note(thread, "quirin", "Photo asked for.")
    await page.locator("#handoffs li").wait_for()
    await take(page, "Ana Lindqvist")
    await look(page, "nobody's")
    await page.get_by_role("button", name="Claim").click()
    await page.get_by_text("You answer this conversation.").first.wait_for()
    await page.get_by_label("Answer to the customer").fill("One moment")
    await look(page, "one's own")
    await desk.claim(thread, "quirin", over=True)
    await page.get_by_role("button", name="Take over").wait_for()
    await look(page, "another's")
    await page.set_viewport_size({"width": 390, "height": 780})
    await look(page, "a case on a phone")
    await page.get_by_role("button", name="Back", exact=True).click()
    await page.locator("#handoffs li").wait_for()
    await look(page, "the list on a phone")

    await page.set_viewport_size({"width": 1280, "height": 860})
    await page.get_by_role("link", name="Approvals 1").click()
    await page.get_by_text("Change the arguments").click()
    await look(page, "approvals")
    desk.doubt((await desk.approvals.listed())[0].action)
    await page.get_by_role("button", name="Reject").click()
    await page.get_by_text("Nothing waits.").wait_for()
    await look(page, "approvals answered")
    await page.get_by_role("link", name="In doubt 1").click()
    await page.get_by_label("How you know").wait_for()
    await look(page, "in doubt")


async def test_the_room_of_answers(page, look: Look, desk: FakeDesk) -> None:
    """With an answer that is given again, and when it was withdrawn."""
    await open_desk(page, "/desk/answers")
    await page.get_by_text("A return label costs 3.95 EUR.").wait_for()
    await look(page, "answers")
    await page.get_by_role("button", name="Withdraw").click()
    await page.get_by_text("until an article changes", exact=True).wait_for()
    await look(page, "withdrawn")


async def test_the_models_room(page, look: Look, desk: FakeDesk) -> None:
    """Before anything was looked at, and with an alarm, a sample to label and decisions."""
    await open_desk(page, "/desk/models")
    await page.locator("#decisions tr").first.wait_for()
    await look(page, "quiet")
    found = Comparison(
        messages=300,
        reference=2000,
        p={"intents": 0.003},
        abstained_now=0.2,
        shifts=(Shift(intent="warranty_claim", then=0.01, now=0.12, p=0.001),),
        alarm=True,
    )
    window = Window(window="count", against="the traffic before", comparison=found)
    desk.drift = Drift(at=datetime(2026, 11, 22, 9, tzinfo=UTC), windows=(window,))
    desk.checks["large_model"] = {"status": "down", "reason": "nobody answers"}
    await page.get_by_role("button", name="Draw 100 of the last 7 days").click()
    await page.get_by_text("message 1", exact=True).wait_for()
    await page.get_by_text("nobody answers").wait_for()
    await look(page, "an alarm")
