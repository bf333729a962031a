"""The wire, octet by octet: HTTP/2, HPACK, gRPC framing and protobuf, as compiled functions over arrays.

What every part stands on:

    constants   the numbers of RFC 9113 and RFC 7541
    octets      copying and comparing
    limits      the bounds on everything that a peer can make grow
    handle      many arrays as one argument
    memory      blocks of octets for whatever a peer makes us keep

Frames and fields:

    frames      frame headers, padding, and the frames that a connection answers by itself
    grpc        the prefix of a message, timeouts, grpc-message, binary metadata
    huffman     string literals
    fields      what a header field means to a gRPC server or client
    table       the static and the dynamic tables, many connections in one set of arrays
    hpack       header blocks

Messages:

    protobuf    reading and writing the wire format
    datatypes   element types and their names on the wire
    layouts     which messages may share a batch
    batch       the messages of a turn and their groups
    template    messages that repeat the bytes of the one before
    plan        what the replies of a group have in common
    infer_codec, predict_codec   ModelInfer and Predict: many messages to one batch, and back

The server's engine:

    state       every connection, stream and call, as rows of arrays
    answers     the answers that are always the same
    streams     the rows of streams: found, opened, closed
    output      what waits to be written to a connection
    windows     flow control
    connections how connections begin and end
    requests    what a list of request fields says
    calls       a call's messages out of its DATA, and its answer
    faults      what a peer did wrong, counted or answered
    headers, control   the frames that open calls, and those beside them
    receive     what a peer sends, frame by frame
    turn        answers, output and time: the entries beside `receive`
    sockets     epoll, recv and send for all plain connections of a turn
    vectorized  the turn of a vectorized method in few entries

A client, for the load of `serval bench` and for `Client.predict_each`:

    client_state     connections and calls, as rows of arrays
    client_requests  header blocks, and what waits to be sent
    client_replies   what comes back, and how a call ends
    client_frames    frames that a server sends
    client_status    what became of a call, in gRPC's terms
    client           the entries: offer, receive, what waits to be sent
    client_loop      closed and open loops of calls, over arrays
    predict_replies  many PredictReply of one row each, into arrays

Each uses only those above it, and the client nothing of the server's engine. Only `sockets` knows of sockets and
clocks, and no Python object is in what is compiled: one compiled loop may parse a frame header and decode its block
without leaving.
"""
