"""A delivery provider of Passmend in Python: hands mail to an SMTP server.

Limits first: one connection a mail; addresses are ASCII; every part is base64.
The contract is provider.proto; what a process has to do before it serves is at
the top of that file, and in main() here.
"""

import base64
import datetime
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import sys
import threading
import time
from concurrent import futures
from email.header import Header
from email.utils import formataddr, formatdate

NAME, VERSION = "python-smtp", "0.1.0"
PROTOCOLS = (2, 1)  # of the contract, best first
COOKIE = ("PASSMEND_PLUGIN", "provider-3f6c1f5e")
MAX_CALL = 60.0  # seconds, of a call without a deadline

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["host"],
    "properties": {
        "host": {"type": "string", "title": "Host", "maxLength": 253, "x-order": 1},
        "port": {"type": "integer", "title": "Port", "minimum": 1, "maximum": 65535, "default": 587, "x-order": 2},
        "tls": {"type": "string", "title": "Encryption", "description": "none is for loopback hosts only.",
                "enum": ["starttls", "none"], "default": "starttls", "x-order": 3},
        "username": {"type": "string", "title": "User name", "maxLength": 320, "x-order": 4},
        "password": {"type": "string", "title": "Password", "writeOnly": True, "maxLength": 4096, "x-order": 5},
    },
}


class Failure(Exception):
    """How a call ended, but for accepted. public never holds a value."""

    def __init__(self, kind, public, code=""):
        super().__init__(public)
        self.kind, self.public, self.code = kind, public, code


class Settings:
    """The settings, checked."""

    def __init__(self, wire):
        try:
            values = json.loads(wire.values)
        except ValueError:
            values = None
        if not isinstance(values, dict) or not set(values) <= set(SCHEMA["properties"]):
            raise Failure("MISCONFIGURED", "the settings are not an object of the schema")
        self.host = values.get("host", "")
        self.port = values.get("port", 587)
        self.tls = values.get("tls", "starttls")
        self.username = values.get("username", "")
        self.password = wire.secrets.get("password", "")
        self._check()

    def _check(self):
        texts = {"host": self.host, "tls": self.tls, "username": self.username, "password": self.password}
        for name, text in texts.items():
            if not isinstance(text, str) or CONTROL.search(text):
                raise Failure("MISCONFIGURED", name + " must be a text without control characters")
        if not self.host:
            raise Failure("MISCONFIGURED", "host is missing")
        if type(self.port) is not int or not 1 <= self.port <= 65535:
            raise Failure("MISCONFIGURED", "port must be 1 to 65535")
        if self.tls not in ("starttls", "none") or (self.tls == "none" and not LOOPBACK.match(self.host)):
            raise Failure("MISCONFIGURED", "tls must be starttls, or none for a loopback host")
        if bool(self.username) != bool(self.password):
            raise Failure("MISCONFIGURED", "username and password belong together")


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
LOOPBACK = re.compile(r"^(localhost|127\.\d+\.\d+\.\d+|::1)$")
ADDRESS = re.compile(r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$")
FIELD = re.compile(r"^[!-9;-~]+$")
RESERVED = re.compile(r"^(b?cc|to|from|sender|subject|reply-to|date|message-id|mime-version|return-path|content-.*|resent-.*)$", re.I)


def compose(mail):
    """The mail's bytes. What could become a line or a recipient of its own is refused."""
    sender = getattr(mail, "from")  # a word of Python's
    plain = [mail.subject, sender.name, mail.to.name, mail.reply_to.name, mail.message_id]
    plain += [text for h in mail.headers for text in (h.name, h.value)]
    plain += [text for i in mail.inline for text in (i.content_id, i.content_type, i.name)]
    if any(CONTROL.search(text) for text in plain):
        raise Failure("CONTENT_REFUSED", "a field holds control characters")
    if not ADDRESS.match(mail.to.address):
        raise Failure("RECIPIENT_REFUSED", "the recipient's address is not usable")
    if not ADDRESS.match(sender.address) or (mail.reply_to.address and not ADDRESS.match(mail.reply_to.address)):
        raise Failure("MISCONFIGURED", "the sender's or the reply address is not usable")
    fields = [("From", mailbox(sender)), ("To", mailbox(mail.to)), ("Date", formatdate()),
              ("Message-ID", "<%s>" % mail.message_id), ("Subject", words(mail.subject))]
    if mail.reply_to.address:
        fields.append(("Reply-To", mailbox(mail.reply_to)))
    for h in mail.headers:
        if not FIELD.match(h.name) or RESERVED.match(h.name):
            raise Failure("CONTENT_REFUSED", "a header field is not allowed")
        fields.append((h.name, words(h.value)))
    boundary = "part-" + os.urandom(16).hex()
    fields += [("MIME-Version", "1.0"), ("Content-Type", 'multipart/related; boundary="%s"' % boundary)]
    parts = [part(text.encode(), "text/%s; charset=utf-8" % kind) for kind, text in (("html", mail.html), ("plain", mail.text)) if text]
    parts += [part(i.bytes, i.content_type, i.content_id) for i in mail.inline]
    body = "".join("\r\n--%s\r\n%s" % (boundary, p) for p in parts) + "\r\n--%s--\r\n" % boundary
    return ("".join("%s: %s\r\n" % f for f in fields) + body).encode("ascii")


def part(content, content_type, content_id=""):
    head = "Content-Type: %s\r\nContent-Transfer-Encoding: base64\r\n" % content_type
    if content_id:
        head += "Content-ID: <%s>\r\n" % content_id
    return head + "\r\n" + base64.encodebytes(content).decode().replace("\n", "\r\n")


def words(text):
    """A field of text, encoded where it has to be (RFC 2047)."""
    if text.isascii() and "=?" not in text and len(text) < 900:
        return text
    return Header(text, "utf-8").encode(linesep="\r\n")


def mailbox(m):
    return formataddr((m.name, m.address), "utf-8")


def refusal(stage, code, text):
    """Reads a reply by where it came and by its enhanced code (RFC 3463)."""
    found = re.match(rb"\s*([245]\.\d{1,3}\.\d{1,3})\b", text or b"")
    enhanced = found.group(1).decode() if found else ""
    shown = enhanced or str(code)
    if enhanced == "4.7.28":
        return Failure("RATE_LIMITED", "the mail server asks to send more slowly", shown)
    if enhanced == "5.4.5":
        return Failure("QUOTA_EXHAUSTED", "the mail server's quota is used up", shown)
    if code in (530, 535, 538):
        return Failure("AUTHENTICATION_FAILED", "username and password are refused by the mail server", shown)
    if code < 500:
        return Failure("TEMPORARY", "the mail server asks to try later", shown)
    kind, public = {
        "rcpt": ("RECIPIENT_REFUSED", "the recipient's address is refused by the mail server"),
        "data": ("CONTENT_REFUSED", "the message is refused by the mail server"),
    }.get(stage, ("MISCONFIGURED", "host does not take mail with these settings"))
    return Failure(kind, public, shown)


class Session:
    """One connection to the mail server, which ends with the call."""

    def __init__(self, settings, context):
        self.stage = "connect"
        remaining = context.time_remaining()
        self.smtp = smtplib.SMTP(timeout=max(0.001, min(MAX_CALL, remaining if remaining is not None else MAX_CALL)))
        context.add_callback(self.cut)
        self.settings = settings

    def cut(self):
        """Ends what blocks in another thread: the call is over."""
        sock = getattr(self.smtp, "sock", None)
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        s = self.settings
        self.expect(self.smtp.connect(s.host, s.port))
        self.smtp._host = s.host  # smtplib 3.11 takes TLS's server name from its constructor alone
        self.expect(self.smtp.ehlo())
        if s.tls == "starttls":
            self.stage = "tls"
            self.smtp.starttls(context=ssl.create_default_context())
            self.expect(self.smtp.ehlo())
        if s.username:
            self.stage = "auth"
            self.smtp.login(s.username, s.password)
        return self

    def __exit__(self, *_):
        self.smtp.close()

    def expect(self, reply):
        code, text = reply
        if not 200 <= code < 400:
            raise refusal(self.stage, code, text)

    def send(self, sender, recipient, raw):
        self.stage = "mail"
        self.expect(self.smtp.mail(sender))
        self.stage = "rcpt"
        self.expect(self.smtp.rcpt(recipient))
        self.stage = "data"
        self.expect(self.smtp.data(raw))


def talk(settings, context, work):
    """Runs work in a session and gives every error its name."""
    session = None
    try:
        session = Session(settings, context)
        with session:
            work(session)
    except smtplib.SMTPAuthenticationError as e:
        raise refusal("auth", e.smtp_code, e.smtp_error) from None
    except smtplib.SMTPNotSupportedError:
        raise Failure("MISCONFIGURED", "tls or username asks for what the mail server does not offer") from None
    except smtplib.SMTPDataError as e:
        raise refusal("data", e.smtp_code, e.smtp_error) from None
    except ssl.SSLError:
        raise Failure("MISCONFIGURED", "host has no certificate that is valid for it") from None
    except socket.gaierror:
        raise Failure("MISCONFIGURED", "host does not exist in the DNS") from None
    except (smtplib.SMTPException, OSError):
        if session.stage == "data":
            raise Failure("UNKNOWN", "the connection was lost before the mail server confirmed the message") from None
        raise Failure("TEMPORARY", "the mail server cannot be reached, or did not answer") from None


class Provider:
    """The five calls of the contract."""

    def __init__(self, pb):
        self.pb = pb

    def describe(self, _request, _context):
        reply = self.pb.DescribeReply(
            name=NAME, version=VERSION, contents=["mail"], settings_schema=json.dumps(SCHEMA).encode(),
            permissions=self.pb.Permissions(ports=[25, 587], hosts=["*"]))
        reply.result.outcome = self.pb.OUTCOME_ACCEPTED
        return reply

    def check(self, request, context):
        return self.ended(self.pb.CheckReply(), lambda: talk(Settings(request.settings), context, lambda _: None))

    def send(self, request, context):
        def work():
            if request.WhichOneof("content") != "mail":
                raise Failure("CONTENT_REFUSED", "this provider takes mail only")
            settings, mail = Settings(request.settings), request.mail
            raw = compose(mail)
            if not context.is_active():
                raise Failure("TEMPORARY", "the call was over before it began")
            talk(settings, context, lambda session: session.send(getattr(mail, "from").address, mail.to.address, raw))
        return self.ended(self.pb.SendReply(), work)

    def health(self, _request, _context):
        return self.ended(self.pb.HealthReply(), lambda: None)

    def ended(self, reply, work):
        """Fills in the result. What nobody foresaw is unknown: the mail may be out."""
        began, result = time.monotonic_ns(), reply.result
        try:
            work()
            result.outcome = self.pb.OUTCOME_ACCEPTED
        except Failure as f:
            result.outcome = self.pb.Outcome.Value("OUTCOME_" + f.kind)
            result.public, result.code = f.public, f.code
        except Exception as e:  # its text may hold anything, its type does not
            result.outcome = self.pb.OUTCOME_UNKNOWN
            result.public, result.private = "the provider broke down during the call", type(e).__name__
        result.steps.add(name="smtp", start_ns=0, duration_ns=time.monotonic_ns() - began)
        return reply


def identity():
    """A key and a certificate that live as long as the process."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    return (key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
            certificate.public_bytes(pem), certificate.public_bytes(serialization.Encoding.DER))


def main():
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit("passmend-%s %s is a delivery provider of Passmend. It is not run by hand." % (NAME, VERSION))
    host_certificate = os.environ.get("PLUGIN_CLIENT_CERT", "")
    if not host_certificate:
        sys.exit("the host gave no certificate: mutual TLS is required")
    offered = {int(v) for v in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "").split(",") if v.isdigit()}
    spoken = [v for v in PROTOCOLS if v in offered]
    if not spoken:
        sys.exit("the host speaks no version of the contract that this plugin speaks")

    import grpc
    import provider_pb2 as pb

    threading.stack_size(512 << 10)  # 8 MiB each by default, which the cage counts
    key, certificate, der = identity()
    over = threading.Event()
    provider = Provider(pb)
    calls = {"Describe": provider.describe, "Check": provider.check, "Send": provider.send, "Health": provider.health}

    def shutdown(_request, _context):
        over.set()
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=256), options=[
        ("grpc.max_receive_message_length", 4 << 20), ("grpc.max_send_message_length", 1 << 20)])
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("passmend.provider.v1.Provider", {
            name: grpc.unary_unary_rpc_method_handler(
                call, getattr(pb, name + "Request").FromString, getattr(pb, name + "Reply").SerializeToString)
            for name, call in calls.items()}),
        # What go-plugin asks a process to end with.
        grpc.method_handlers_generic_handler("plugin.GRPCController", {
            "Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}),
    ))
    address = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "plugin")
    server.add_secure_port("unix:" + address, grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=host_certificate.encode(), require_client_auth=True))
    server.start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the host
    print("1|%d|unix|%s|grpc|%s" % (spoken[0], address, base64.b64encode(der).decode().rstrip("=")), flush=True)
    over.wait()
    server.stop(grace=0.5).wait()


if __name__ == "__main__":
    main()
