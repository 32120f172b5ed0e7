"""Words that carry no value of their own: what sentences begin with and what is left when all values are out."""

from __future__ import annotations

#: In English and German; other languages' messages are read by their values alone.
_EMPTY = """
a aber about actually am an and at auf bitte brauche but can could danke das dem den der die doch
ein eine einen es for from für hallo hello hey hi i i'd i'm ich im in instead is ist it ja kann
können like make me mean meant mein meine meinen meiner mich mir my möchte need nein nicht no not
number oder of on one or order our please pls sie sorry stattdessen thank thanks that the this to
und von wait want we will wir with would yes you zu
"""
_OPENERS = """
absolutely all alle alright also any are auch bestellung cancel card certainly change check correct
dann did do does don't exchange first great guten habe haben has hat have hmm how i'll i've if it's
jetzt just kannst könnt let's look maybe never now nur oh ok okay perfect refund return right second
since so stornieren sure that's then there these those wann warum was well wer what when where which
who why wie wo zip ändern
"""
EMPTY = frozenset(_EMPTY.split())
_BEGIN_SENTENCES = EMPTY | frozenset(_OPENERS.split())


def is_opener(word: str) -> bool:
    """Does the word begin sentences, so that its capital says nothing?"""
    return word.casefold() in _BEGIN_SENTENCES
