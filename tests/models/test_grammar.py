"""JSON schemas as grammars; that llama.cpp accepts and keeps to them is tested with the real model."""

import pytest

from app.models.grammar import (
    SchemaNotSupported,
    literal,
    one_of,
    quotes_grammar,
    schema_grammar,
)


def test_texts_are_escaped() -> None:
    """A quotation mark or line break in a text cannot end the literal."""
    assert literal('say "hi"\\\n') == r'"say \"hi\"\\\n"'
    assert one_of(["yes", "no"]) == 'root ::= "yes" | "no"'


def test_keys_come_in_the_order_of_the_schema_without_white_space() -> None:
    """An object has one shape only."""
    schema = {
        "type": "object",
        "properties": {
            "b": {"enum": ["x", None]},
            "a": {"type": "integer", "minimum": 1, "maximum": 3},
            "c": {"type": "boolean"},
        },
    }

    assert schema_grammar(schema, "") == (
        r'root ::= "{\"b\":" ("\"x\"" | "null") ",\"a\":" ("1" | "2" | "3") ",\"c\":" ("true" | "false") "}"'
    )


def test_a_copied_run_strips_punctuation_at_its_ends_only() -> None:
    """A customer's comma inside an address stays, the full stop behind it does not."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-copy": True}}}

    grammar = schema_grammar(schema, "to Road 4, Bonn.")

    assert grammar.splitlines()[1:] == [
        'run1 ::= "Road" | "Road" " " run2',
        'run2 ::= "4" | "4," " " run3',
        'run3 ::= "Bonn"',
        r'copied ::= "null" | "\"" ("to" | "to" " " run1 | "Road" | "Road" " " run2 | "4" | "4," " " run3 | "Bonn") "\""',
    ]


def test_the_grammar_grows_linearly_with_the_input() -> None:
    """Twice the words, about twice the grammar, and a bound on both."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-copy": True}}}

    def size(words: int) -> int:
        return len(schema_grammar(schema, "word " * words))

    assert size(200) < 2.2 * size(100)
    assert size(10_000) == size(1_000)


def test_nothing_to_copy_leaves_null() -> None:
    """An input of bare punctuation offers no run."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-copy": True}}}

    assert schema_grammar(schema, "?! ...") == r'root ::= "{\"a\":" "null" "}"'


def test_pydantic_schemas_with_references_and_nullable_fields_are_understood() -> None:
    """`$ref` and `anyOf` with null are what pydantic writes."""
    schema = {
        "$defs": {"Reason": {"enum": ["late", "damaged"]}},
        "type": "object",
        "properties": {"reason": {"anyOf": [{"$ref": "#/$defs/Reason"}, {"type": "null"}]}},
    }

    assert schema_grammar(schema, "") == (
        r'root ::= "{\"reason\":" (("\"late\"" | "\"damaged\"") | "null") "}"'
    )


def test_an_unknown_schema_is_an_error_and_not_free_text() -> None:
    """A schema without a grammar is refused."""
    with pytest.raises(SchemaNotSupported, match="no grammar"):
        schema_grammar({"type": "object", "properties": {"a": {}}}, "")


def test_quotes_keep_their_order_and_none_comes_twice() -> None:
    """Of three quotes at most two: every later one may follow an earlier one."""
    assert quotes_grammar(["A.", "B.", "C."], most=2).splitlines() == [
        "root ::= q0 more1x1 | q1 more1x2 | q2",
        'q0 ::= "A."',
        'q1 ::= "B."',
        'q2 ::= "C."',
        'more1x1 ::= (" " (q1 | q2))?',
        'more1x2 ::= (" " (q2))?',
    ]


def test_only_the_customers_words_can_be_copied() -> None:
    """The extractor's input names operation and fields before the message; those are no values."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "x-copy": True}}}

    grammar = schema_grammar(schema, "operation: get_order\nfields: a\nmessage: hi message: x")

    assert "get_order" not in grammar
    assert '"hi"' in grammar


def test_quotes_may_be_owed() -> None:
    """With two as the least, no answer of one quote is possible."""
    assert quotes_grammar(["A.", "B.", "C."], least=2, most=2).splitlines() == [
        "root ::= q0 more1x1 | q1 more1x2",
        'q0 ::= "A."',
        'q1 ::= "B."',
        'q2 ::= "C."',
        'more1x1 ::= (" " (q1 | q2))',
        'more1x2 ::= (" " (q2))',
    ]
