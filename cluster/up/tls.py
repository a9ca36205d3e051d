"""An own certificate authority for `tightbeam up --host`: without TLS a browser withholds half its features.

Kept in the state directory so that trusting it once is enough; keys are readable by their user only.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.up.links import write_private

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 397
"""Browsers refuse longer (CA/Browser Forum Baseline Requirements 6.3.2, 398 days)."""
RENEW_DAYS: Final = 30
PRIVATE_NETWORKS: Final = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
)
"""RFC 1122 3.2.1.3, RFC 4291 2.4, RFC 1918, RFC 3927, RFC 4193: addresses that no public site has."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: the authority to trust, the node's certificate and its key."""

    authority: Path
    certificate: Path
    key: Path
    fingerprint: str


def ensure(folder: Path, names: Sequence[str]) -> Certificates:
    """The certificates for these names and addresses, made or renewed when needed.

    The authority is to be trusted once, so a further address that it may not speak for is left out; for the
    first name, or a new DNS name, a new authority is made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    needed = [name for name in names if isinstance(_alternative_name(name), x509.DNSName)]
    authority, authority_key = _authority(folder, names, [names[0], *needed])
    names = [name for name in names if _covers(authority, [name])]
    certificate, key = folder / "node.pem", folder / "node.key"
    if not (certificate.exists() and key.exists() and _good(certificate, authority, names)):
        _issue(folder, authority, authority_key, names)
    digest = authority.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificates(folder / "ca.pem", certificate, key, digest)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(path, pem)


def _allowed(names: Sequence[str]) -> list[x509.GeneralName]:
    """For what the authority can speak: once trusted, it must not be a key to every other site."""
    own = [_alternative_name(name) for name in names]
    allowed: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("local")]
    allowed += [name for name in own if isinstance(name, x509.DNSName) and name not in allowed]
    networks = [ipaddress.ip_network(network) for network in PRIVATE_NETWORKS]
    for name in own:
        if isinstance(name, x509.IPAddress):
            address = ipaddress.ip_address(str(name.value))
            if not any(address in network for network in networks):
                bits = 32 if address.version == 4 else 64  # the rest changes by the day (RFC 8981)
                networks.append(ipaddress.ip_network(f"{address}/{bits}", strict=False))
    return allowed + [x509.IPAddress(network) for network in networks]


def _covers(authority: x509.Certificate, names: Sequence[str]) -> bool:
    """Whether it is constrained (RFC 5280 4.2.1.10), and not too narrowly for these names."""
    try:
        found = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return set(_allowed(names)) <= set(found.permitted_subtrees or ())


def _authority(
    folder: Path, names: Sequence[str], needed: Sequence[str]
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
    if certificate_file.exists() and key_file.exists():
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        fresh = certificate.not_valid_after_utc - _now() > datetime.timedelta(days=LEAF_DAYS)
        if isinstance(key, ec.EllipticCurvePrivateKey) and fresh and _covers(certificate, needed):
            return certificate, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Tightbeam on this machine")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints(_allowed(names), None), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    write_private(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(hours=1))
        .not_valid_after(_now() + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _issue(
    folder: Path,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority.public_key()
    if not isinstance(signer, ec.EllipticCurvePublicKey):
        raise TypeError(f"{folder / 'ca.pem'}: expected an EC key; remove it to make a new one")
    certificate = (
        _builder(_name("Tightbeam node"), authority.subject, key.public_key(), LEAF_DAYS)
        .add_extension(
            x509.SubjectAlternativeName([_alternative_name(name) for name in names]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    _write_key(folder / "node.key", key)
    write_private(folder / "node.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _good(path: Path, authority: x509.Certificate, names: Sequence[str]) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    left = certificate.not_valid_after_utc - _now()
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    wanted = {_alternative_name(name) for name in names}
    return left > datetime.timedelta(days=RENEW_DAYS) and wanted == set(found)


@dataclass(frozen=True, slots=True)
class Given:
    """A certificate that the user brought: under which name the node is reached; `has_root`: it is its own
    authority, or brings it along, so the agent is to trust this file instead of the system's authorities."""

    name: str
    has_root: bool


def read_given(certificate_file: Path, host: str) -> Given:
    """`host` is taken where the certificate is for it; raises ValueError in words."""
    try:
        chain = x509.load_pem_x509_certificates(certificate_file.read_bytes())
    except ValueError:
        raise ValueError(f"--tls-cert: {certificate_file}: expected certificates in PEM") from None
    try:
        found = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found = x509.SubjectAlternativeName([])
    names = found.get_values_for_type(x509.DNSName)
    names += [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    parent = host.partition(".")[2]  # RFC 6125 6.4.3: a star stands for one label
    plain = [name for name in names if "*" not in name]
    name = host if host in names or f"*.{parent}" in names else next(iter(plain), None)
    if name is None:
        raise ValueError(
            f"--tls-cert: {certificate_file} is for {', '.join(names) or 'no name at all'}, which is no"
            " name for a link: give --host a name that it covers, or another certificate"
        )
    return Given(name, any(each.issuer == each.subject for each in chain))
