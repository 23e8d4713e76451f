"""The server: KServe's v2 protocol, as Triton and its clients speak it. Knows `Engine`."""
