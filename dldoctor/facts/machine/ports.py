"""Ports that a training will listen on: asked for, or named by the environment of a distributed run."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from typing import Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.subjects import Machine, PortAsked


@dataclass(frozen=True)
class Port(Fact):
    """A port this machine is to listen on, whether it is free, and who has it if not."""

    host: str
    port: int
    #: "--port" or "MASTER_PORT"
    said_by: str
    free: bool
    #: the words of the operating system
    reason: str = ""
    pid: int | None = None
    process: str = ""
    #: a free port near it
    other: int | None = None

    @classmethod
    def gather(cls, machine: Machine, asked: PortAsked | None) -> Self:
        if asked is not None:
            if not _is_ours(asked.host):
                raise Unavailable(f"{asked.host} is another machine")
            return cls(asked.host, asked.port, "--port", *_probe(asked.host, asked.port))
        text = os.environ.get("MASTER_PORT", "")
        host = os.environ.get("MASTER_ADDR", "127.0.0.1")
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise Unavailable("needs --port N or MASTER_PORT")
        # the address is another machine's, or we are one of its clients: only rank 0 listens
        if os.environ.get("RANK", "0") != "0" or not _is_ours(host):
            raise Unavailable("this machine does not listen on MASTER_PORT")
        return cls(host, int(text), "MASTER_PORT", *_probe(host, int(text)))


def _is_ours(host: str) -> bool:
    if host in ("localhost", "0.0.0.0", "::", "::1", socket.gethostname()) or host.startswith("127."):
        return True
    import psutil

    return any(host == address.address for addresses in psutil.net_if_addrs().values() for address in addresses)


def _probe(host: str, port: int) -> tuple[bool, str, int | None, str, int | None]:
    """Try to listen, on the wildcard address as torch's store does, and let go at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        _bind(family, port)
    except OSError as error:
        if error.errno == errno.EACCES:
            return False, os.strerror(error.errno), None, "", _free_port(family)
        if error.errno != errno.EADDRINUSE:
            raise Unavailable(f"port {port} can't be tried ({error.strerror})") from None
        pid, name = _holder(port)
        return False, os.strerror(error.errno), pid, name, _free_port(family)
    return True, "", None, "", None


def _bind(family: socket.AddressFamily, port: int) -> int:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # without this a connection that is only winding down would count as taken; a listener still does
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))
        probe.listen(1)
        number: int = probe.getsockname()[1]
        return number


def _free_port(family: socket.AddressFamily) -> int | None:
    try:
        return _bind(family, 0)
    except OSError:
        return None


def _holder(port: int) -> tuple[int | None, str]:
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,) and connection.pid:
                return connection.pid, psutil.Process(connection.pid).name()
    except psutil.Error:  # other users' sockets need rights that we may not have
        pass
    return None, ""
