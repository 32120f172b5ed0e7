"""Writing trained updates as the GGUF adapter file that llama.cpp loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}
#: Attention heads of the maps whose rows llama.cpp keeps in another order.
ROTATED = {"q_proj": 9, "k_proj": 3}


def interleaved(rows: int, heads: int) -> npt.NDArray[np.int64]:
    """For each row of the file, which row of the trained map it is.

    transformers keeps the two halves of a rotated pair half a head apart, the file keeps them side by side.
    An adapter written without this loads without complaint and answers nonsense.
    """
    return np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(-1)


def write(
    path: Path, weights: Mapping[tuple[int, str], tuple[Any, Any]], *, name: str, alpha: float
) -> None:
    """Write the adapter as F16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer: Any = gguf.GGUFWriter(str(path), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    writer.add_name(name)
    for (layer, linear), (first, second) in sorted(weights.items()):
        a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
        if linear in ROTATED:
            b = b[interleaved(len(b), ROTATED[linear])]
        place = f"blk.{layer}.{NAMES[linear]}.weight"
        writer.add_tensor(f"{place}.lora_a", np.ascontiguousarray(a.astype(np.float16)))
        writer.add_tensor(f"{place}.lora_b", np.ascontiguousarray(b.astype(np.float16)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path: Path) -> dict[tuple[int, str], tuple[Any, Any]]:
    """The trained updates of an adapter file, in the order of rows they were trained in."""
    places = {name: linear for linear, name in NAMES.items()}
    halves: dict[tuple[int, str], dict[str, Any]] = {}
    reader: Any = gguf.GGUFReader(str(path))
    for tensor in reader.tensors:
        _, layer, place, _, half = tensor.name.split(".")
        values = np.array(tensor.data, np.float32)
        linear = places[place]
        if half == "lora_b" and linear in ROTATED:
            values = values[np.argsort(interleaved(len(values), ROTATED[linear]))]
        halves.setdefault((int(layer), linear), {})[half] = values
    return {place: (pair["lora_a"], pair["lora_b"]) for place, pair in halves.items()}
