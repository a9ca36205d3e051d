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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.up.links import write_private

CA_DAYS: Final = 3650
LEAF_DAYS: Final = 397
"""Browsers refuse longer (CA/Browser Forum Baseline Requirements 6.3.2, 398 days)."""
RENEW_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM: the authority to trust, the node's certificate and its key."""

    authority: Path
    certificate: Path
    key: Path
    fingerprint: str


def ensure(folder: Path, names: Sequence[str]) -> Certificates:
    """The certificates for these names and addresses, made or renewed when needed."""
    folder.mkdir(mode=0o700, exist_ok=True)
    authority, authority_key = _authority(folder)
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


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
    if certificate_file.exists() and key_file.exists():
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        fresh = certificate.not_valid_after_utc - _now() > datetime.timedelta(days=LEAF_DAYS)
        if isinstance(key, ec.EllipticCurvePrivateKey) and fresh:
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
        _builder(_name(names[0]), authority.subject, key.public_key(), LEAF_DAYS)
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
    except (ValueError, TypeError, x509.InvalidVersion):
        return False
    wanted = {_alternative_name(name) for name in names}
    return left > datetime.timedelta(days=RENEW_DAYS) and wanted == set(found)


def first_name(certificate_file: Path) -> str | None:
    """The first DNS name of a given certificate: under this the agent reaches the node."""
    certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    return next(iter(names.get_values_for_type(x509.DNSName)), None)
