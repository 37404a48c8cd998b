"""Generates the Python code of every proto into `libs/` (or the folder given), and nothing else.

Run as `make proto`. `--check` generates into a temporary folder and compares: the committed code is
always fresh.
"""

import os
import sys
import tempfile
from pathlib import Path

import grpc_tools
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
    # The mypy plugins are programs that lie beside the interpreter, whether or not it is activated.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
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


def stale() -> list[str]:
    """Names of committed generated modules that differ from what the protos give now."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {path.relative_to(scratch): path.read_bytes() for path in generate(Path(scratch))}
    committed = {
        path.relative_to(LIBS): path.read_bytes()
        for path in LIBS.glob("servemark/*/v1/*_pb2*.py*")
        if path.suffix in (".py", ".pyi")
    }
    names = fresh.keys() | committed.keys()
    return sorted(str(name) for name in names if fresh.get(name) != committed.get(name))


def main() -> int:
    """Generates, or with `--check` only says what is stale. 0 done or fresh, 1 stale."""
    if sys.argv[1:] == ["--check"]:
        names = stale()
        for name in names:
            print(f"libs/{name} is stale: run `make proto`", file=sys.stderr)
        return 1 if names else 0
    # Into a temporary folder first, so that a refused proto leaves the old code in place.
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
    for old in LIBS.glob("servemark/*/v1/*_pb2*.py*"):
        old.unlink()
    print(f"{len(generate(LIBS))} files generated", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
