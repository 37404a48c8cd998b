import subprocess
import sys

_PROBE = """
import sys
from servemark.client.channel import connect
from servemark.client.config import Config
with connect("127.0.0.1:9") as client:
    stream = client.stream(tool="mine", provenance="measured")
    stream.add_result(Config("model", "hardware", "vllm", "chatbot"), ttft_p50_ms=1.0)
    stream.flush()
heavy = {"numpy", "sqlalchemy", "asyncpg", "redis", "pydantic", "structlog", "typer", "rich"}
heavy |= {"services", "migrations", "servemark.runtime", "servemark.cli", "servemark.importers"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)
"""


def test_a_runner_loads_grpc_and_protobuf_and_nothing_of_the_server() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
