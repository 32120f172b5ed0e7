"""Make the Ollama models of the roles: the base with the role's adapter folded in."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from app.models.fold import fold
from app.models.manifest import Manifest, ManifestError
from app.models.ollama import role_model
from app.models.ollama_wire import errors_explained

#: Called with a role's model name, what is being done, and the share of it that is done (0 to 1).
Progress = Callable[[str, str, float], None]

#: The adapter trained on all roles at once; one Ollama process can then serve every role.
ALL_ROLES = "all"
_TEMPLATE = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
_PARAMETERS = {"temperature": 0, "num_ctx": 2048, "stop": ["<|im_end|>"]}


async def create_models(
    host: str,
    roles: Sequence[str],
    one_model: bool = False,
    *,
    base: Path,
    manifest: Manifest,
    progress: Progress = lambda model, step, share: None,
    folder: Path | None = None,
) -> list[str]:
    """Create one Ollama model per role, or with ``one_model`` a single one for all; returns their names.

    ``folder`` keeps the folded GGUF files; without it they are deleted once Ollama has them.
    """
    wanted = [ALL_ROLES] if one_model else list(dict.fromkeys(roles))
    missing = [role for role in wanted if role not in manifest.adapters]
    if missing:
        known = ", ".join(sorted(manifest.adapters)) or "none"
        raise ManifestError(
            f"The manifest has no adapter for {', '.join(missing)} (it has: {known})."
        )
    made: list[str] = []
    with tempfile.TemporaryDirectory(prefix="signalbox-fold-") as temporary:
        for role in wanted:
            target = (folder or Path(temporary)) / f"{role_model(role)}.gguf"
            await _folded(base, manifest, role, target, progress)
            await _created(host, role_model(role), target, progress)
            if folder is None:
                target.unlink()
            made.append(role_model(role))
    return made


def modelfile(gguf: str) -> str:
    """The same model as a Modelfile, for `ollama create NAME -f FILE` where no API may be reached."""
    lines = [f"FROM {gguf}", f'TEMPLATE """{_TEMPLATE}"""']
    lines += [f"PARAMETER {key} {_PARAMETERS[key]}" for key in ("temperature", "num_ctx")]
    lines += [f'PARAMETER stop "{stop}"' for stop in cast("list[str]", _PARAMETERS["stop"])]
    return "\n".join(lines) + "\n"


async def _folded(
    base: Path, manifest: Manifest, role: str, target: Path, progress: Progress
) -> None:
    loop = asyncio.get_running_loop()
    model = role_model(role)

    def tell(share: float) -> None:
        loop.call_soon_threadsafe(progress, model, "folding the adapter in", share)

    adapter = manifest.path(manifest.adapters[role])
    await asyncio.to_thread(fold, base, adapter, target, tell)


async def _created(host: str, model: str, file: Path, progress: Progress) -> None:
    import ollama

    async with (
        errors_explained(host, model),
        ollama.AsyncClient(host=host, timeout=600.0) as opened,  # pyright: ignore[reportUnknownVariableType]
    ):
        client = cast("Any", opened)
        progress(model, "uploading", 0.0)
        digest = str(await client.create_blob(file))
        progress(model, "uploading", 1.0)
        answers = cast(
            "AsyncIterator[Any]",
            await client.create(
                model=model,
                files={file.name: digest},
                template=_TEMPLATE,
                parameters=_PARAMETERS,
                stream=True,
            ),
        )
        async for answer in answers:
            total, done = answer.total or 0, answer.completed or 0
            progress(model, str(answer.status or "creating"), done / total if total else 0.0)
        progress(model, "ready", 1.0)
