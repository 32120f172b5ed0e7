"""What nobody sees is named where it stands, and nothing else is touched."""

from __future__ import annotations

import pytest

from tools.invisible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Lindenweg 4\u202e nilreB", "Lindenweg 4⟨U+202E⟩ nilreB"),  # Reads backwards from here.
        ("pay\u200bpal", "pay⟨U+200B⟩pal"),  # Zero width.
        ("\ufeffA\u2066b\u2069", "⟨U+FEFF⟩A⟨U+2066⟩b⟨U+2069⟩"),
        ("a\u3164b\u00ad", "a⟨U+3164⟩b⟨U+00AD⟩"),  # A letter that is blank, and a soft hyphen.
        ("\U000e0041", "⟨U+E0041⟩"),  # Words in tags.
        ("Straße 5, Łódź – שלום مرحبا 你好\n\t", "Straße 5, Łódź – שלום مرحبا 你好\n\t"),
    ],
)
def test_invisible_characters_are_named(text, shown):
    """Each kind by its code point; letters of every script stay as they are."""
    assert visible(text) == shown
