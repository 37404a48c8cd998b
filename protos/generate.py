"""Generates the Python code of every proto into `libs/` (or the folder given), and nothing else.

Run as `make proto`. A test generates into a temporary folder and compares, so the committed code is always fresh.
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
LIBS = PROTOS.parent / "libs"


def proto_files() -> list[str]:
    """Every proto of the contract, relative to `protos/`, sorted."""
    return sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("servemark/**/*.proto"))


def generate(out: Path) -> list[Path]:
    """Writes the generated modules below `out` and returns their paths.

    Raises RuntimeError if the compiler refuses a proto; its own words are on stderr.
    """
    import grpc_tools

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *proto_files(),
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc refused a proto file; see its message above")
    packages = {out.joinpath(name).parent for name in proto_files()}
    for package in packages:
        for level in (package, package.parent):
            (level / "__init__.py").touch()
    # Protos without a service get an empty gRPC module; it would only be noise.
    for module in out.glob("servemark/**/*_pb2_grpc.py"):
        if not module.name.endswith("_service_pb2_grpc.py"):
            module.unlink()
            module.with_suffix(".pyi").unlink(missing_ok=True)
    return sorted(out.glob("servemark/*/v1/*_pb2*.py*"))


def main() -> None:
    """Generates into a temporary folder first, so that a refused proto leaves the old code in place."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
    for old in LIBS.glob("servemark/*/v1/*_pb2*.py*"):
        old.unlink()
    print(f"{len(generate(LIBS))} files generated", file=sys.stderr)


if __name__ == "__main__":
    main()
