"""The wire, octet by octet: HTTP/2, HPACK, gRPC framing and protobuf, as compiled functions over arrays.

These are the lower layers of the vectorized transport; the states of connections and streams come above them.

    constants   the numbers of RFC 9113 and RFC 7541
    frames      frame headers, padding, and the frames that a connection answers by itself
    octets      copying and comparing
    huffman     string literals
    fields      what a header field means to a gRPC server
    table       the static and the dynamic tables, many connections in one set of arrays
    hpack       header blocks

    grpc        the prefix of a message, timeouts, grpc-message, binary metadata
    protobuf    reading and writing the wire format
    datatypes   element types and their names on the wire
    batch       the messages of a turn and their groups
    layouts     which messages may share a batch
    template    messages that repeat the bytes of the one before
    plan        what the replies of a group have in common
    infer_codec, predict_codec   ModelInfer and Predict: many messages to one batch, and back

Each uses only those above it. No sockets, no clocks, and no Python object in what is compiled: one compiled loop may
parse a frame header and decode its block without leaving.
"""
