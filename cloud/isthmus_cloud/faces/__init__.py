"""The gRPC faces: thin, each hands its messages to the core."""
