"""The Open Inference Protocol's messages, built in a descriptor pool of their own.

protobuf refuses two definitions of one message in a pool, and tritonclient, kserve and mlserver each put
`inference.ModelInferRequest` into the default one. Whoever imports this module can import them too.
The names are those that protoc would generate, so the generated service stubs import it unchanged.
"""

from importlib.resources import files

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

POOL = descriptor_pool.DescriptorPool()

_FILE_SET = descriptor_pb2.FileDescriptorSet.FromString(
    files("serval_protos.inference").joinpath("open_inference.binpb").read_bytes()
)
for _file in _FILE_SET.file:
    POOL.Add(_file)

DESCRIPTOR = POOL.FindFileByName("serval_protos/inference/open_inference.proto")
globals().update(
    {
        name: message_factory.GetMessageClass(descriptor)
        for name, descriptor in DESCRIPTOR.message_types_by_name.items()
    }
)
globals().update(
    {
        value.name: value.number
        for enum in DESCRIPTOR.enum_types_by_name.values()
        for value in enum.values
    }
)
