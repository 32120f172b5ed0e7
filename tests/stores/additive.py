"""Whether a process that knows the schema before a migration can work on the one after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class Schema:
    """A database's tables as they are: columns, and what its rows must be."""

    columns: dict[str, dict[str, sa.engine.interfaces.ReflectedColumn]]
    demands: dict[
        str, frozenset[str]
    ]  #: Of each table its keys, unique sets, checks and references.
    types: dict[str, dict[str, str]]

    @classmethod
    def of(cls, engine: sa.Engine) -> Schema:
        found = sa.inspect(engine)
        tables = [name for name in found.get_table_names() if name != "alembic_version"]
        columns = {name: {c["name"]: c for c in found.get_columns(name)} for name in tables}
        types = {
            name: {key: each["type"].compile(engine.dialect) for key, each in of_table.items()}
            for name, of_table in columns.items()
        }
        demands = {name: frozenset(_demands(found, name)) for name in tables}
        return cls(columns, demands, types)


def _demands(found: sa.Inspector, table: str) -> Iterator[str]:
    yield f"primary key {found.get_pk_constraint(table)['constrained_columns']}"
    for each in found.get_unique_constraints(table):
        yield f"unique {sorted(each['column_names'])}"
    for each in found.get_indexes(table):
        if each["unique"]:
            yield f"unique {sorted(filter(None, each['column_names']))}"
    for each in found.get_check_constraints(table):
        yield f"check {each['sqltext']}"
    for each in found.get_foreign_keys(table):
        yield f"reference {each['constrained_columns']} to {each['referred_table']}"


def breaks(before: Schema, after: Schema) -> list[str]:
    """What of the change would stop, or change the meaning of what, the earlier version reads and writes."""
    return [*_breaks(before, after)]


def _breaks(before: Schema, after: Schema) -> Iterator[str]:
    for table, columns in before.columns.items():
        if table not in after.columns:
            yield f"{table} is gone"
            continue
        there = after.columns[table]
        for name, column in columns.items():
            if name not in there:
                yield f"{table}.{name} is gone"
            elif before.types[table][name] != after.types[table][name]:
                was, becomes = before.types[table][name], after.types[table][name]
                yield f"{table}.{name} was {was} and is {becomes}"
            elif column["nullable"] and not there[name]["nullable"]:
                yield f"{table}.{name} may not be empty any more"
        for name in there.keys() - columns.keys():
            if not there[name]["nullable"] and there[name]["default"] is None:
                yield f"{table}.{name} is new, may not be empty and has no default"
        for demand in sorted(after.demands[table] - before.demands[table]):
            yield f"{table} has a new demand: {demand}"
