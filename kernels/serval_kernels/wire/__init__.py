"""The wire, octet by octet: HTTP/2 frames and header compression, as compiled functions over arrays.

    constants   the numbers of RFC 9113 and RFC 7541
    frames      frame headers, padding, and the frames that a connection answers by itself
    octets      copying and comparing
    huffman     string literals
    fields      what a header field means to a gRPC server
    table       the static and the dynamic tables, many connections in one set of arrays
    hpack       header blocks

Each uses only those above it. No sockets, no clocks, and no Python object in what is compiled: one compiled loop may
parse a frame header and decode its block without leaving.
"""
