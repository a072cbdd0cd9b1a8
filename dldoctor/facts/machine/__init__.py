"""Facts about the machine or container: GPU, memory, shared memory, threads, ports, packages."""
