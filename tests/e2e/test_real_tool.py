"""`servemark run` with a real load generator, against a small server of OpenAI's API.

It runs where SERVEMARK_TEST_AIPERF names an installed `aiperf`, or one is on the PATH. Nothing is
downloaded: the tokenizer is made on the spot, one token a byte.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from servemark.client.segment import Segment
from servemark.client.spool import Spool
from servemark.importers.detect import FORMATS
from tests.support import openai_server

ROOT = Path(__file__).resolve().parents[2]
AIPERF = os.environ.get("SERVEMARK_TEST_AIPERF") or shutil.which("aiperf")
REQUESTS = 20
CONTEXT = {
    "model": openai_server.MODEL,
    "quantization": "fp8",
    "hardware": "test/h100-1",
    "gpu_count": 1,
    "framework": "vllm",
    "framework_version": "0.11.0",
    "workload_type": "random",
}
TOKENIZER = """
import json, sys
from pathlib import Path
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
folder = Path(sys.argv[1])
folder.mkdir()
letters = sorted(pre_tokenizers.ByteLevel.alphabet())
made = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
made.decoder = decoders.ByteLevel()
made.save(str(folder / "tokenizer.json"))
special = {name: letters[0] for name in ("bos_token", "eos_token")}
config = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
(folder / "tokenizer_config.json").write_text(json.dumps(config))
"""


@pytest.fixture
def model_server() -> Iterator[str]:
    server = openai_server.server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(AIPERF is None, reason="no aiperf: SERVEMARK_TEST_AIPERF may name one")
@pytest.mark.skipif("aiperf" not in FORMATS, reason="aiperf's files are not among the formats")
def test_what_aiperf_measured_is_kept_with_how_it_was_called(
    tmp_path: Path, model_server: str
) -> None:
    assert AIPERF is not None
    folder = tmp_path / "work"
    folder.mkdir()
    python = Path(AIPERF).resolve().parent / "python"
    subprocess.run([python, "-c", TOKENIZER, str(tmp_path / "tokenizer")], check=True)
    (tmp_path / "context.json").write_text(json.dumps(CONTEXT))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "servemark.cli", "run", "--target", "127.0.0.1:9"),
            *("--context", str(tmp_path / "context.json"), "--spool", str(tmp_path / "spool")),
            *("--", AIPERF, "profile", "--model", openai_server.MODEL, "--url", model_server),
            *("--endpoint-type", "chat", "--streaming", "--ui", "none"),
            *("--tokenizer", str(tmp_path / "tokenizer"), "--use-server-token-count"),
            *("--concurrency", "4", "--request-count", str(REQUESTS), "--api-key", "s3cret-key"),
            *("--synthetic-input-tokens-mean", "32", "--output-tokens-mean", "16"),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'libs'}"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = Spool(tmp_path / "spool").paths()
    segment = Segment.open(path)
    (row,) = segment.batch(0) or []
    segment.close()
    assert row.request_count == REQUESTS
    # The server's own times: the first token after 20 ms, each further one after 2 ms.
    assert 20 <= row.metrics.ttft_p50_ms < 2_000
    assert 2 <= row.metrics.tpot_p50_ms < 200
    environment = json.loads(row.detailed_metrics_json)["environment"]
    assert "--api-key ***" in environment["command"]
    assert "aiperf" in environment["versions"]
