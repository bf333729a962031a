"""serval's own gRPC server: HTTP/2 in compiled kernels, one loop thread that owns every socket and all protocol state.

Calls of vectorized methods never leave the loop. All others are ordinary: a `Call` joins the loop to a handler that was
written for grpc.Server and runs on a thread pool.

    handlers       which handler a path has
    call           one ordinary call, between the loop and its handler's thread
    auth_context   what TLS says of a peer
    context        the grpc.ServicerContext that a handler is given
    callbacks      what a handler wants run when its call is over
    metadata       header lists to and from what handlers see
    compression    gzip and deflate of messages, bounded
"""
