"""Generates the stubs in serval_protos from the .proto files: `make protos`.

serval.v1 gets the ordinary generated modules. The Open Inference Protocol gets a descriptor set instead of a message
module, because its messages must stay out of protobuf's default pool: serval_protos/inference/open_inference_pb2.py.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent
PROTOS = "serval_protos"


def generate(out: Path) -> None:
    """Write every generated file below the folder `out`, in the layout of this folder."""
    well_known = str(files("grpc_tools") / "_proto")
    include = [f"-I{ROOT}", f"-I{well_known}"]
    v1 = [str(path.relative_to(ROOT)) for path in sorted((ROOT / PROTOS / "v1").glob("*.proto"))]
    v2 = f"{PROTOS}/inference/open_inference.proto"
    (out / PROTOS / "inference").mkdir(parents=True, exist_ok=True)
    run([*include, f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}", *v1])
    descriptor_set = out / PROTOS / "inference" / "open_inference.binpb"
    run([*include, f"--descriptor_set_out={descriptor_set}", f"--pyi_out={out}", f"--grpc_python_out={out}", v2])
    for stub in (out / PROTOS / "v1").glob("*_pb2_grpc.py"):
        if stub.name == "common_pb2_grpc.py":  # a file without a service
            stub.unlink()


def run(arguments: list[str]) -> None:
    """Run protoc; end the program with its exit code where it fails."""
    code = protoc.main(["protoc", *arguments])
    if code:
        sys.exit(code)


if __name__ == "__main__":
    generate(ROOT)
