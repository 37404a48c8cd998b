"""The SDK a benchmark runner installs: gRPC and protobuf, no SQL, no numpy."""
