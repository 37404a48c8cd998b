"""`python -m servemark.runtime.probe host:port`: exits 0 where the server there is SERVING.

Over TLS where SERVEMARK_PEER_TLS_CA is set, as one service calls another.
"""

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def is_serving(target: str, timeout: float = 2.0) -> bool:
    """Whether the server at `target` answers its health check with SERVING within `timeout` s."""
    with _channel(target) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=timeout, wait_for_ready=True
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _channel(target: str) -> grpc.Channel:
    ca, key, cert = (
        Path(path).read_bytes() if (path := os.environ.get(f"SERVEMARK_PEER_TLS_{name}")) else None
        for name in ("CA", "KEY", "CERT")
    )
    if ca is None:
        return grpc.insecure_channel(target)
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert))


if __name__ == "__main__":
    sys.exit(0 if len(sys.argv) == 2 and is_serving(sys.argv[1]) else 1)
