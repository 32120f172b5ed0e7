"""Words point to the record and the part that a careful colleague would take them for, and to no other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.config import ROOT
from app.domains import load_domain
from domains.northfell.demo_accounts import stories
from domains.northfell.memory import MemoryBackend, MemoryBooks
from domains.northfell.words import LEXICON
from graphs.understanding.grounding import Grounds, Memory, ground
from graphs.understanding.heard import said_in
from graphs.understanding.weighing import only_names
from tools.values import Clock

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)


async def _ground(
    who: str,
    text: str,
    kind: str = "order",
    memory: Memory | None = None,
    first: tuple[str, ...] = (),
) -> Grounds:
    accounts = {one.customer.id: one for one in stories(NOW.date())}
    backend = MemoryBackend(MemoryBooks(list(accounts.values())), Clock(lambda: NOW))
    views = await backend.records(accounts[who].customer)
    memory = memory or Memory()
    spans = load_domain(ROOT / "domains" / "northfell").reader.read(
        text, today=NOW.date(), own_ids=[view.id for view in views], offered=len(memory.offered)
    )
    said = said_in(spans.new_text, spans)
    return ground(said, views, (kind,), lexicon=LEXICON, memory=memory, first=first)


@pytest.mark.parametrize(
    ("who", "text", "kind", "record"),
    [
        ("ana", "refund for my boots please, sole came off", "order", "SB-10217"),
        ("carla", "only the jacket, not the boots!!", "order", "SB-10431"),
        ("ben", "the duo stove please, it stopped working. 129 euros", "order", "SB-10390"),
        ("ben", "cancel yesterday's order", "order", "SB-10496"),
        ("ben", "the one with the pack and the bottles", "order", "SB-10479"),
        ("ana", "Left boot leaks since last week. They are like 5 months old", "order", "SB-10217"),
        ("ana", "Stove doesn't light anymore, the ember one. Bought last year", "order", "SB-9874"),
        ("carla", "a pole segment of our basecamp tent broke, it is a bit more than 3 years old", "order", "SB-9410"),
        ("ben", "wo bleibt denn mein Rucksack? Hab ich vor drei Tagen bestellt", "order", "SB-10479"),
        ("ben", "i need the invoice for the stove again", "invoice", "INV-20840"),
        ("eva", "no the other one, the lantern", "refund", "RF-30075"),
        ("carla", "any news on my refund for the sleeping bag?", "refund", "RF-30112"),
        ("eva", "Die Sendungsnummer ist PC4410288DE", "order", "SB-10288"),
        ("eva", "gritstone runers are falling apart", "order", "SB-10288"),
        ("eva", "Wo bleiben meine 99 €?", "refund", "SB-10465"),
        ("eva", "Die Hose hab ich letzte Woche storniert, wo bleiben meine 99 €?", "refund", "SB-10465"),
        ("eva", "where is my refund of 89 euros", "refund", "RF-30118"),
        ("eva", "where is the money for the trousers? cancelled them days ago, paid with paypal", "refund", "SB-10465"),
    ],
)  # fmt: skip
async def test_one_record_is_meant(who: str, text: str, kind: str, record: str) -> None:
    assert (await _ground(who, text, kind)).records == (record,)


@pytest.mark.parametrize(
    ("who", "text"),
    [
        # A thing that everybody talks of in other words too names nothing.
        ("ana", "how long does that take"),
        ("carla", "you sent me two LEFT ones. two. left. €329!! seriously?"),
        ("ben", "pause it over the winter, December to end of March"),
        ("carla", "I want to report a lost parcel"),
    ],
)
async def test_ordinary_words_name_no_record(who: str, text: str) -> None:
    found = await _ground(who, text)

    assert (found.records, found.missing) == ((), "") or found.records == ("SB-10398",)


async def test_what_nobody_bought_is_said() -> None:
    """A named product that is in none of the orders is a contradiction, and no other boots are taken for it."""
    found = await _ground("carla", "I bought the Fellwalker boots in July, left one lets water in")

    assert found.missing == "Fellwalker Boots"


async def test_a_part_stays_a_part() -> None:
    """The thing that goes back is the part; the one that stays is not."""
    found = await _ground("ana", "send the mat back, the tent stays")

    assert found.record == "SB-10482"
    assert [part.name for part in found.parts] == ["Foam Mat"]


@pytest.mark.parametrize(
    "text",
    [
        "ich will nur die Matte aus der Bestellung, das Zelt soll kommen",
        "take only the mat out, I need the tent",
        "refund just the foam mat of the tent order",
    ],
)
async def test_only_one_of_two_things_is_meant(text: str) -> None:
    """Another one that is named beside it does not make it the whole order."""
    found = await _ground("ana", text)

    assert found.record == "SB-10482"
    assert [part.name for part in found.parts] == ["Foam Mat"]


async def test_pieces_are_counted() -> None:
    found = await _ground("dev", "cancel 2 of the 6 tents")

    assert found.record == "SB-10488"
    assert [(part.name, part.quantity) for part in found.parts] == [("Basecamp Tunnel 4P", 2)]


async def test_an_item_may_only_name_its_order() -> None:
    """ "The tent order" is the whole order, whatever else is in it."""
    assert (await _ground("ana", "cancel the tent order")).parts == ()


async def test_places_in_a_list() -> None:
    shown = Memory(offered=("SB-10501", "SB-10496", "SB-10479"))

    assert (await _ground("ben", "the second one", memory=shown)).records == ("SB-10496",)
    assert (await _ground("ben", "die zweite bitte", memory=shown)).records == ("SB-10496",)
    assert (await _ground("ben", "all of them", memory=shown)).together


async def test_the_record_talked_about_is_meant_where_none_is_named() -> None:
    found = await _ground("ben", "cancel it", memory=Memory(focus="SB-10496"))

    assert (found.records, found.how) == (("SB-10496",), "focus")


async def test_a_number_of_somebody_else_is_nobodys() -> None:
    found = await _ground("ben", "when does SB-10431 come?", memory=Memory(focus="SB-10496"))

    assert (found.records, found.foreign) == ((), ("SB-10431",))


async def test_a_state_picks_where_only_one_is_in_it() -> None:
    """Only one parcel of Carla's is under way, so a late one can only be that."""
    found = await _ground("carla", "where on earth is it", first=("shipped",))

    assert (found.records, found.how) == (("SB-10431",), "only")


async def test_a_thing_each_is_a_record_each() -> None:
    """Two things that were named one beside the other are both meant; one word that fits two orders picks neither."""
    both = await _ground("ben", "cancel the headlamp and the jacket")
    assert (set(both.records), both.together) == ({"SB-10496", "SB-10501"}, True)
    assert not (await _ground("ana", "send the mat back, the tent stays")).together
    assert not (await _ground("ben", "the one with the pack and the bottles")).together


async def test_the_other_one_is_never_the_one_talked_about() -> None:
    """Of several others none is taken."""
    found = await _ground("ben", "cancel the other one", memory=Memory(focus="SB-10455"))

    assert len(found.records) > 1
    assert "SB-10455" not in found.records


async def test_a_named_thing_beats_the_likely_state() -> None:
    """The pack is not sent yet; it is meant all the same, and no delivered thing is taken for it."""
    found = await _ground(
        "ben", "no wait, the pack", memory=Memory("SB-10390"), first=("delivered",)
    )

    assert found.records == ("SB-10479",)


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("no wait, the pack", True),
        ("ok then the stove after all", True),
        ("nein, ich meine die Stirnlampe", True),
        ("where is the pack", False),
        ("no wait", False),
        ("the pack is broken", False),
    ],
)
async def test_a_message_that_only_names_a_thing(text: str, only: bool) -> None:
    """It goes on with what was wanted, whatever the heads make of so few words."""
    accounts = {one.customer.id: one for one in stories(NOW.date())}
    backend = MemoryBackend(MemoryBooks(list(accounts.values())), Clock(lambda: NOW))
    views = await backend.records(accounts["ben"].customer)

    assert only_names(text, views) is only


async def test_the_other_two_are_both() -> None:
    """Two are left beside the one that was told; of three, "the other two" is not said."""
    found = await _ground("eva", "what about the other two", "refund", Memory(focus="RF-30118"))

    assert {*found.records} == {"RF-30075", "RF-30091"}
    assert found.together


async def test_what_came_with_a_thing_is_not_the_thing() -> None:
    found = await _ground("ana", "lost my long spoon, the one that came with the stove")

    assert [part.name for part in found.parts] == ["Long Spoon"]


async def test_a_package_is_no_pack() -> None:
    """A word for the order itself is no thing that she does not own, nor the one that he does."""
    assert not (await _ground("eva", "where's my package")).missing
    assert not (await _ground("ben", "where's my package")).records
    assert not (
        await _ground("ana", "good. Packstation 145, 50668 Köln, Postnummer 91827364")
    ).missing
