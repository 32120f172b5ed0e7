"""Every role by its name, as something that is opened and then answers lines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from app.roles import Answer
from app.roles.consequence import consequence
from app.roles.evaluator import evaluator
from app.roles.extractor import extractor
from app.roles.pruner import pruner
from app.roles.router import router
from app.roles.validator import validator

OPEN: dict[str, Callable[..., AbstractAsyncContextManager[Answer]]] = {
    "consequence": consequence,
    "router": router,
    "extractor": extractor,
    "evaluator": evaluator,
    "validator": validator,
    "pruner": pruner,
}
