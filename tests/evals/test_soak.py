"""The soak's arithmetic, and that what it sends is not what it sent before."""

import random

from evals.mix import load_messages
from evals.soak import Soaked, conversation, documents, report


def seen(*, begins: float, grows: float) -> Soaked:
    """Ten minutes, looked at every two seconds; ``grows`` in MB a minute."""
    noise = random.Random(1)
    memory = [
        (
            2.0 * n,
            7 * n,
            {"agent": begins + grows * n / 30 + noise.random(), "model server": 200.0},
        )
        for n in range(300)
    ]
    return Soaked(turns=2100, documents=500, seconds=600, memory=memory)


def test_a_server_that_stays_below_and_does_not_grow_meets_both() -> None:
    """Noise alone is no growth."""
    assert report(seen(begins=500, grows=0)).ok


def test_a_server_that_grows_is_found_however_small_it_is() -> None:
    """One megabyte a minute is told from noise of one megabyte within ten minutes."""
    assert [f.name for f in report(seen(begins=100, grows=1)).figures if f.missed] == [
        "it grows by at least, an hour"
    ]


def test_both_processes_count_against_what_is_promised() -> None:
    """650 MB and a model server of 200 are more than 800."""
    assert [f.name for f in report(seen(begins=650, grows=0)).figures if f.missed] == [
        "memory of all processes at the end"
    ]


def test_a_run_that_was_too_short_says_nothing_of_growth() -> None:
    """A slope without an interval is no figure."""
    short = seen(begins=500, grows=0)
    short.memory = short.memory[:20]

    assert [f.name for f in report(short).figures] == ["memory of all processes at the end"]


def test_hardly_a_message_and_no_article_comes_twice() -> None:
    """A cache of everything that was ever said would fill: what is sent is new."""
    rng = random.Random(3)
    messages = load_messages()
    said = [one.text for _ in range(200) for one in conversation(messages, rng)[1::2]]
    articles = [text for _, text in documents(100, rng)]

    assert len(set(said)) > 0.9 * len(said)
    assert len(set(articles)) == len(articles)
