"""A folded model is the base with its adapter, as the real server computes it."""

from pathlib import Path

import gguf
import numpy as np
import pytest

from app.models.embedded import EmbeddedServer, prompt_text
from app.models.fold import fold
from app.models.manifest import Manifest, ManifestError, base_model

pytestmark = [pytest.mark.models, pytest.mark.slow]
TEXTS = ["Where is my order?", "I forgot my password.", "Cancel it, please!"]


async def logprobs(server: EmbeddedServer, role: str, text: str) -> dict[str, float]:
    body = {
        "prompt": prompt_text(text),
        "n_predict": 1,
        "n_probs": 200,
        "temperature": 0,
        "lora": server.lora(role),
        "id_slot": 0,
    }
    answer = await server.post("/completion", body, within=60)
    top = answer["completion_probabilities"][0]["top_logprobs"]
    return {one["token"]: one["logprob"] for one in top}


async def test_folded_and_adapted_agree(
    server: EmbeddedServer, manifest: Manifest, tmp_path: Path
) -> None:
    """The same probabilities but for rounding, while the base alone is far off."""
    shares: list[float] = []
    target = tmp_path / "folded.gguf"
    fold(base_model(), manifest.adapter_paths()["router"], target, shares.append)

    async with EmbeddedServer(target) as folded:
        near, far = [], []
        for text in TEXTS:
            adapted = await logprobs(server, "router", text)
            base = await logprobs(server, "none", text)
            merged = await logprobs(folded, "none", text)
            top = sorted(adapted, key=adapted.__getitem__)[-20:]
            near += [abs(adapted[t] - merged[t]) for t in top if t in merged]
            far += [abs(adapted[t] - base.get(t, min(base.values()))) for t in top]

    assert np.mean(near) < 0.2
    assert np.mean(far) > 5 * np.mean(near)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_adapter_of_another_shape_of_model_is_refused(tmp_path: Path) -> None:
    """An adapter for a layer the base does not have fits another base."""
    file = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.add_float32("adapter.lora.alpha", 8.0)
    writer.add_tensor("blk.99.attn_q.weight.lora_a", np.zeros((4, 576), np.float16))
    writer.add_tensor("blk.99.attn_q.weight.lora_b", np.zeros((576, 4), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(ManifestError, match=r"does not fit .*blk\.99"):
        fold(base_model(), file, tmp_path / "out.gguf")
