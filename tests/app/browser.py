"""A real Chromium for the tests of the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from .conftest import OPERATOR_KEY, Served

playwright = pytest.importorskip("playwright.async_api")

# Without these the browser asks its maker's servers things at every start.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(
            executable_path="/usr/bin/chromium", headless=True, args=ARGUMENTS
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def tab(browser: Any, live: Served, **options: Any) -> AsyncIterator[Any]:
    """A fresh page; a script error, a refused load or a request elsewhere fails the test."""
    size = {"width": 1280, "height": 860}
    context = await browser.new_context(base_url=live.url, viewport=size, **options)
    page = await context.new_page()
    page.set_default_timeout(8000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(live.url) else wrong.append(r.url))
    page.on(
        "console",
        lambda m: wrong.append(m.text) if "Content Security Policy" in m.text else None,
    )
    yield page
    await context.close()
    assert wrong == []


async def enter(page: Any, name: str = "Ana Lindqvist") -> None:
    await page.goto("/")
    await page.get_by_role("button", name=name).click()
    # Focus is the last thing the page does when it has asked for all it shows.
    await playwright.expect(page.get_by_label("Your message")).to_be_focused()


async def say(page: Any, text: str) -> None:
    await page.get_by_label("Your message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def open_desk(page: Any, room: str = "/desk#approvals", *, key: str = OPERATOR_KEY) -> None:
    await page.goto(room)
    await page.get_by_label("Operator key").fill(key)
    await page.get_by_role("button", name="Open the desk").click()
    await page.get_by_role("button", name="Sign out").wait_for()


async def take(operator: Any, name: str) -> None:
    """Open the first conversation of this customer."""
    await operator.get_by_role("link", name=name).first.click()
    await operator.get_by_role("heading", name=name).wait_for()
