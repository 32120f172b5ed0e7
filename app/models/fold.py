"""Fold a LoRA adapter into its base model, for servers that take no adapters per request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.models.manifest import ManifestError

#: Metadata the writer sets itself.
_WRITTEN_BY_US = (
    "GGUF.",
    "general.architecture",
    "general.file_type",
    "general.quantization_version",
)
_FILE_TYPE_Q8_0 = 7

Progress = Callable[[float], None]


def fold(
    base: Path, adapter: Path | None, target: Path, progress: Progress = lambda share: None
) -> None:
    """Write ``base`` with ``adapter`` folded in as a Q8_0 GGUF; ``progress`` gets the share done, 0 to 1.

    Q8_0 and not the base's own Q4_1: the adapter's update is smaller than a step of Q4_1, and the base lies
    on that grid, so rounding back to it would erase the update.
    """
    import gguf

    reader = gguf.GGUFReader(base)
    updates = _updates(adapter) if adapter else {}
    tensors = cast("list[Any]", reader.tensors)
    unknown = set(updates) - {tensor.name for tensor in tensors}
    if unknown:
        raise ManifestError(f"{adapter} does not fit {base}: it adapts {sorted(unknown)[0]}.")
    partial = target.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, _architecture(reader))
    _copy_metadata(reader, writer)
    writer.add_file_type(_FILE_TYPE_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for done, tensor in enumerate(tensors):
        data, kind = np.asarray(tensor.data), tensor.tensor_type
        name = str(tensor.name)
        if kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0) and (
            name not in updates
        ):
            writer.add_tensor(name, data.copy(), raw_dtype=kind)
        else:
            weights = gguf.quants.dequantize(data, kind).astype(np.float32)
            if name in updates:
                weights += updates[name]()
            quantized = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        progress((done + 1) / len(tensors) * 0.9)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)
    progress(1.0)


def _updates(adapter: Path) -> dict[str, Callable[[], NDArray[np.float32]]]:
    """What the adapter adds to each weight: alpha / rank * B A."""
    import gguf

    reader = gguf.GGUFReader(adapter)
    field = reader.fields.get("adapter.lora.alpha")
    if field is None:
        raise ManifestError(f"{adapter} is not a LoRA adapter.")
    alpha = float(field.contents())
    matrices: dict[str, NDArray[np.float32]] = {
        str(tensor.name): np.asarray(tensor.data).astype(np.float32)
        for tensor in cast("list[Any]", reader.tensors)
    }

    def product(name: str) -> Callable[[], NDArray[np.float32]]:
        a, b = matrices[f"{name}.lora_a"], matrices[f"{name}.lora_b"]
        return lambda: (b @ a) * np.float32(alpha / a.shape[0])

    adapted = [key.removesuffix(".lora_a") for key in matrices if key.endswith(".lora_a")]
    return {name: product(name) for name in adapted}


def _architecture(reader: Any) -> str:
    return str(reader.fields["general.architecture"].contents())


def _copy_metadata(reader: Any, writer: Any) -> None:
    import gguf

    for key, field in reader.fields.items():
        if key.startswith(_WRITTEN_BY_US):
            continue
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(key, field.contents())
        else:
            writer.add_key_value(key, field.contents(), field.types[0])
