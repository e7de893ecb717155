//! Authentication of all three protocols: who, how, with what outcome; decides what is secret (RFC 4422).
//!
//! An [`Exchange`] takes the lines of both sides as they pass and gives them to [`Secrets`] before anything else.
//! What it keeps is the identity and how far it came; never a password, a proof, a token or a challenge.

use std::time::Duration;

use super::frame::Line;
use super::json;
use super::secret::{Secrets, base64};
use crate::event::Text;
use crate::event::{Auth, AuthMethod, AuthOutcome, Mechanism, OauthError, Reply, TlsMode};
use crate::time::Timestamp;

/// The command that begins an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthCommand {
    /// Time of its first byte.
    pub(crate) began: Timestamp,
    /// Time of its last byte.
    pub(crate) sent: Timestamp,
    /// Its bytes on the wire.
    pub(crate) octets: u64,
}

impl AuthCommand {
    /// `line`, which was complete at `sent`.
    pub(crate) fn of(line: &Line<'_>, sent: Timestamp) -> Self {
        Self { began: line.began, sent, octets: line.wire }
    }
}

/// One authentication attempt as it goes on.
#[derive(Debug)]
pub(crate) struct Exchange {
    method: AuthMethod,
    mechanism: Option<Mechanism>,
    identity: Text,
    initial_response: Option<bool>,
    steps: u32,
    /// Data of the client so far, the initial response included.
    data: u32,
    octets: u64,
    challenged: bool,
    cancelled: bool,
    /// A response was lost.
    missed: bool,
    /// Some of what the client said was lost.
    torn: bool,
    oauth_error: Option<Box<OauthError>>,
    began: Timestamp,
    sent: Timestamp,
    /// When the client had said what it had to say; `None` while the server waits for it.
    since: Option<Timestamp>,
    /// What the server took for its challenges.
    server: Duration,
}

impl Exchange {
    fn new(method: AuthMethod, mechanism: Option<Mechanism>, opening: AuthCommand) -> Self {
        let AuthCommand { began, sent, octets } = opening;
        Self {
            method,
            mechanism,
            identity: Text::default(),
            initial_response: None,
            steps: 0,
            data: 0,
            octets,
            challenged: false,
            cancelled: false,
            missed: false,
            torn: false,
            oauth_error: None,
            began,
            sent,
            since: Some(sent),
            server: Duration::ZERO,
        }
    }

    /// A SASL exchange that a command begins with the arguments `args`: the mechanism, which some clients put in quotes,
    /// and the first response, for which `=` is the empty one. Blanks and tabs part them.
    pub(crate) fn sasl(args: &[u8], opening: AuthCommand, secrets: &mut Secrets) -> Self {
        secrets.settle_line();
        let mut words = args.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        let name = words.next().unwrap_or_default();
        let mechanism = mechanism_of(unquoted(name));
        if mechanism == Mechanism::Other {
            // A mechanism left out: this may be the credential.
            secrets.suspect(name);
        }
        let mut exchange = Self::new(AuthMethod::Sasl, Some(mechanism), opening);
        let initial = words.next();
        exchange.initial_response = Some(initial.is_some());
        if let Some(initial) = initial.map(unquoted) {
            // `AUTH LOGIN =`: the client has nothing to say yet, and the server asks for the name.
            if mechanism != Mechanism::Login || initial != b"=" {
                exchange.datum(initial, secrets);
            }
        }
        // No grammar has more words, so they may be anything.
        words.for_each(|word| secrets.learn(word));
        exchange
    }

    /// An exchange without SASL: IMAP LOGIN, POP3 USER and PASS, APOP.
    pub(crate) fn plain(
        method: AuthMethod,
        identity: &[u8],
        secret: &[u8],
        opening: AuthCommand,
        secrets: &mut Secrets,
    ) -> Self {
        secrets.settle_line();
        secrets.learn_password(secret);
        let mut exchange = Self::new(method, None, opening);
        exchange.identify(identity, secrets);
        exchange
    }

    /// A line of the client inside the exchange. Returns false for `*`, which cancels (RFC 4954 section 4, RFC 5034
    /// section 4, RFC 9051 section 6.2.2).
    pub(crate) fn response(&mut self, line: &Line<'_>, secrets: &mut Secrets) -> bool {
        secrets.settle_line();
        self.steps = self.steps.saturating_add(1);
        self.octets = self.octets.saturating_add(line.wire);
        let line = line.octets.trim_ascii();
        if line == b"*" {
            self.cancelled = true;
            return false;
        }
        self.datum(line, secrets);
        true
    }

    /// A response was lost: the next is not the first.
    pub(crate) fn missed(&mut self) {
        self.steps = self.steps.saturating_add(1);
        self.data = self.data.saturating_add(1);
        self.missed = true;
    }

    /// Whether a response was lost, which may have been the cancel.
    pub(crate) fn has_missed(&self) -> bool {
        self.missed
    }

    /// A challenge of the server, without `334` or `+`. It helps to guess a password off line, so it is secret too.
    pub(crate) fn challenge(&mut self, text: &[u8], secrets: &mut Secrets) {
        self.challenged = true;
        // A server that asks for the password takes the name as given: what comes is no name.
        let login = self.mechanism == Some(Mechanism::Login) && self.data == 0;
        if login && base64(text).is_some_and(|prompt| prompt.get(..4).is_some_and(|w| w.eq_ignore_ascii_case(b"pass")))
        {
            self.data = 1;
        }
        // These mechanisms have prompts, which are ordinary words.
        if matches!(self.mechanism, Some(Mechanism::Plain | Mechanism::Login)) {
            return;
        }
        let Some(decoded) = base64(text) else { return };
        secrets.learn(text);
        let bears_token = matches!(self.mechanism, Some(Mechanism::XOAuth2 | Mechanism::OAuthBearer));
        if bears_token && self.data > 0 {
            self.oauth_error = oauth_error(&decoded);
        }
    }

    /// The challenge was complete at `at`.
    pub(crate) fn asked(&mut self, at: Timestamp) {
        self.server =
            self.server.saturating_add(self.since.take().and_then(|since| at.since(since)).unwrap_or_default());
    }

    /// The response was complete at `at`.
    pub(crate) fn answered(&mut self, at: Timestamp) {
        self.since = Some(at);
    }

    /// Some of what the client says is lost: what comes now may be any of its data, so that it names nobody.
    pub(crate) fn tear(&mut self) {
        self.torn = true;
    }

    /// Whether some of what the client said was lost.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn
    }

    /// Whether the client gave up with `*`.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Whether the server went along with the mechanism so far as to ask for something.
    pub(crate) fn is_challenged(&self) -> bool {
        self.challenged
    }

    /// The SASL mechanism; `None` for a method without.
    pub(crate) fn mechanism(&self) -> Option<Mechanism> {
        self.mechanism
    }

    /// Whether the client has sent all that its mechanism has to send: what comes next is no response.
    pub(crate) fn is_spent(&self) -> bool {
        use Mechanism::{CramMd5, External, Login, OAuthBearer, Plain, XOAuth2};
        match self.mechanism {
            Some(Plain | External | XOAuth2 | OAuthBearer | CramMd5) => self.data >= 1,
            Some(Login) => self.data >= 2,
            _ => false,
        }
    }

    /// Data sent by the client so far, the initial response included.
    pub(crate) fn data(&self) -> u32 {
        self.data
    }

    /// The attempt at its final reply, which came at `at`.
    pub(crate) fn finish(self, outcome: AuthOutcome, reply: Reply, at: Option<Timestamp>, tls: TlsMode) -> Auth {
        Auth {
            began: self.began,
            method: self.method,
            mechanism: self.mechanism,
            identity: self.identity,
            identity_proven: false,
            outcome,
            reply,
            oauth_error: self.oauth_error,
            initial_response: self.initial_response,
            steps: self.steps,
            octets: self.octets,
            tls,
            latency: at.and_then(|at| at.since(self.sent)),
            server_latency: at
                .map(|at| self.since.map_or(Some(Duration::ZERO), |since| at.since(since)))
                .and_then(|last| self.server.checked_add(last?)),
            incomplete: Default::default(),
        }
    }

    /// The client's next datum, as base64; `=` stands for an empty one.
    fn datum(&mut self, line: &[u8], secrets: &mut Secrets) {
        let index = self.data;
        self.data = self.data.saturating_add(1);
        let Some(mechanism) = self.mechanism.filter(|_| !self.torn) else { return secrets.learn(line) };
        if line == b"=" {
            return;
        }
        secrets.remember(line);
        let Some(decoded) = base64(line) else {
            secrets.learn_all(line);
            return secrets.suspect(line);
        };
        learn_parts(mechanism, index, &decoded, secrets);
        if !self.identity.is_present()
            && let Some(identity) = identity(mechanism, index, &decoded)
        {
            self.identify(&identity, secrets);
        }
    }

    fn identify(&mut self, identity: &[u8], secrets: &mut Secrets) {
        if !identity.is_empty() {
            self.identity.set(identity);
            secrets.name(identity);
        }
    }
}

/// `word` without quotes around it: some clients put them, as other protocols want it.
fn unquoted(word: &[u8]) -> &[u8] {
    word.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(word)
}

/// The mechanism of that name; names are case-insensitive in the protocols that carry them.
fn mechanism_of(name: &[u8]) -> Mechanism {
    let known = Mechanism::ALL.iter().find(|m| m.as_str().as_bytes().eq_ignore_ascii_case(name));
    known.copied().unwrap_or(Mechanism::Other)
}

/// Remembers what is secret in the client's datum number `index`. What does not have the form of its mechanism is secret
/// all of it.
fn learn_parts(mechanism: Mechanism, index: u32, datum: &[u8], secrets: &mut Secrets) {
    let whole = |secrets: &mut Secrets| {
        secrets.learn_all(datum);
        secrets.suspect(datum);
    };
    match mechanism {
        Mechanism::Plain => match after_names(datum) {
            Some(password) => learn_password(password, secrets),
            None => whole(secrets),
        },
        // The first is the name, whatever the prompt said.
        Mechanism::Login if index == 0 && !datum.strip_suffix(b"\0").unwrap_or(datum).contains(&0) => {}
        Mechanism::Login => learn_password(datum, secrets),
        Mechanism::External => {}
        Mechanism::CramMd5 => match datum.iter().rposition(|byte| *byte == b' ') {
            Some(space) => secrets.remember(datum.get(space + 1..).unwrap_or_default()),
            None => whole(secrets),
        },
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => {
            let Some(credentials) = datum.split(|o| *o == 1).find_map(|pair| strip_key(pair, b"auth=")) else {
                return whole(secrets);
            };
            secrets.remember(credentials);
            let token = credentials.iter().position(|o| *o == b' ').and_then(|sp| credentials.get(sp + 1..));
            secrets.remember(token.unwrap_or_default().trim_ascii());
        }
        _ => {
            secrets.learn_all(datum);
            if is_scram(mechanism) {
                datum.split(|o| *o == b',').filter(|part| part.len() > 8).for_each(|part| {
                    if part.starts_with(b"r=") || part.starts_with(b"p=") {
                        secrets.remember(part.get(2..).unwrap_or_default());
                    }
                });
            }
        }
    }
}

/// The password of PLAIN (RFC 4616 section 2): what follows the second NUL.
fn after_names(datum: &[u8]) -> Option<&[u8]> {
    let mut nul = memchr::memchr_iter(0, datum).skip(1);
    datum.get(nul.next()? + 1..)
}

/// Some clients end a password with NUL, or with U+FFFD in its place.
fn learn_password(password: &[u8], secrets: &mut Secrets) {
    const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();
    let mut text = password;
    while let Some(shorter) = text.strip_suffix(b"\0").or_else(|| text.strip_suffix(REPLACEMENT)) {
        text = shorter;
    }
    if text.len() < password.len() {
        secrets.remember(password);
    }
    secrets.learn_password(text);
}

/// What follows `key`, in any case.
fn strip_key<'a>(pair: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (head, value) = pair.split_at_checked(key.len())?;
    head.eq_ignore_ascii_case(key).then_some(value)
}

/// The error that a server tells in a challenge when it does not take a token (RFC 7628 section 3.2.2).
fn oauth_error(challenge: &[u8]) -> Option<Box<OauthError>> {
    const LONGEST: usize = 256;
    let member = |key| {
        let mut text = Text::default();
        if let Some(value) = json::member(challenge, key) {
            text.set(value.get(..LONGEST).unwrap_or(&value));
        }
        text
    };
    let error = OauthError { status: member("status"), scope: member("scope") };
    (error.status.is_present() || error.scope.is_present()).then(|| Box::new(error))
}

/// Who the client claims to be in its datum number `index`, if this mechanism tells it there.
fn identity(mechanism: Mechanism, index: u32, datum: &[u8]) -> Option<Vec<u8>> {
    match mechanism {
        // RFC 4616 section 2: authzid NUL authcid NUL passwd.
        Mechanism::Plain => {
            let mut parts = datum.split(|o| *o == 0).skip(1);
            let authcid = parts.next()?;
            parts.next().map(|_| authcid.to_vec())
        }
        Mechanism::Login if index == 0 => {
            Some(datum.strip_suffix(b"\0").unwrap_or(datum)).filter(|name| !name.contains(&0)).map(<[u8]>::to_vec)
        }
        // RFC 2195 section 2: the user name may contain spaces, the digest does not.
        Mechanism::CramMd5 => {
            let space = datum.iter().rposition(|o| *o == b' ')?;
            datum.get(..space).map(<[u8]>::to_vec)
        }
        Mechanism::DigestMd5 => digest_username(datum),
        Mechanism::XOAuth2 => {
            let pair = datum.split(|o| *o == 1).next()?;
            strip_key(pair, b"user=").map(<[u8]>::to_vec)
        }
        Mechanism::OAuthBearer | Mechanism::OAuth10a => gs2_attribute(datum, b"a="),
        Mechanism::External => Some(datum.to_vec()),
        Mechanism::Ntlm => ntlm_user(datum),
        scram if is_scram(scram) => gs2_attribute(datum, b"n="),
        _ => None,
    }
}

fn is_scram(mechanism: Mechanism) -> bool {
    mechanism.as_str().starts_with("SCRAM-")
}

/// `username="…"` (RFC 2831 section 2.1.2).
fn digest_username(datum: &[u8]) -> Option<Vec<u8>> {
    const KEY: &[u8] = b"username=";
    let mut rest = datum;
    loop {
        let at = memchr::memmem::find(rest, KEY)?;
        let before = at.checked_sub(1).and_then(|i| rest.get(i));
        let value = rest.get(at + KEY.len()..)?;
        if before.is_none_or(|o| matches!(o, b',' | b' ' | b'\t')) {
            return Some(quoted(value));
        }
        rest = value;
    }
}

/// A quoted string with its quotes removed, or a token.
fn quoted(value: &[u8]) -> Vec<u8> {
    let Some(value) = value.strip_prefix(b"\"") else {
        return value.split(|o| matches!(o, b',' | b' ')).next().unwrap_or_default().to_vec();
    };
    let mut out = Vec::new();
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => break,
            b'\\' => out.extend(octets.next()),
            _ => out.push(*octet),
        }
    }
    out
}

/// An attribute of a message that begins with a GS2 header (RFC 5801 section 4, RFC 5802 section 7).
fn gs2_attribute(datum: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    if !(datum.starts_with(b"n,") || datum.starts_with(b"y,") || datum.starts_with(b"p=")) {
        return None;
    }
    let head = datum.split(|o| *o == 1).next()?;
    let value = head.split(|o| *o == b',').skip(1).find_map(|part| part.strip_prefix(key))?;
    Some(saslname(value))
}

/// `=2C` is a comma, `=3D` an equals sign (RFC 5801 section 4).
fn saslname(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let (octet, next) = match (rest.get(..3), rest.get(3..)) {
            (Some(b"=2C" | b"=2c"), Some(next)) => (b',', next),
            (Some(b"=3D" | b"=3d"), Some(next)) => (b'=', next),
            _ => (*first, after),
        };
        out.push(octet);
        rest = next;
    }
    out
}

/// `DOMAIN\user` of an AUTHENTICATE_MESSAGE (MS-NLMP section 2.2.1.3).
fn ntlm_user(datum: &[u8]) -> Option<Vec<u8>> {
    const DOMAIN: usize = 28;
    const USER: usize = 36;
    const FLAGS: usize = 60;
    const UNICODE: u32 = 1;
    if !datum.starts_with(b"NTLMSSP\0") || long(datum, 8)? != 3 {
        return None;
    }
    // Old messages end before the flags: then the payload begins where they would stand.
    let payload = [12, 20, DOMAIN, USER, 44].iter().filter_map(|at| long(datum, at + 4)).min()?;
    let unicode = payload >= 64 && long(datum, FLAGS)? & UNICODE != 0;
    let domain = ntlm_text(datum, DOMAIN, unicode)?;
    let user = ntlm_text(datum, USER, unicode)?;
    if user.is_empty() || domain.is_empty() {
        return Some(user);
    }
    Some([domain.as_slice(), b"\\", user.as_slice()].concat())
}

/// The text that the length, capacity and offset at `at` point to.
fn ntlm_text(datum: &[u8], at: usize, unicode: bool) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_le_bytes(*datum.get(at..)?.first_chunk()?));
    let start = usize::try_from(long(datum, at + 4)?).ok()?;
    let octets = if length == 0 { &[][..] } else { datum.get(start..start.checked_add(length)?)? };
    if !unicode {
        return Some(octets.to_vec());
    }
    let (pairs, _) = octets.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>().into_bytes())
}

fn long(datum: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*datum.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Mask;
    use data_encoding::BASE64;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_nanos(5);
    const OPENING: AuthCommand = AuthCommand { began: NOW, sent: NOW, octets: 0 };

    /// Identity after `data` were sent, the first as the initial response if `initial`; and `tell` as masked.
    fn run(mechanism: &str, initial: bool, data: &[&[u8]], tell: &[u8]) -> (Option<String>, String) {
        let mut secrets = Secrets::default();
        let encoded: Vec<String> = data.iter().map(|d| BASE64.encode(d)).collect();
        let mut rest = encoded.iter();
        let first = if initial { rest.next().map(|d| if d.is_empty() { "=" } else { d }) } else { None };
        let args = format!("{mechanism} {}", first.unwrap_or_default());
        let mut exchange = Exchange::sasl(args.as_bytes(), OPENING, &mut secrets);
        for line in rest {
            exchange.challenge(b"", &mut secrets);
            assert!(exchange.response(&line_of(line.as_bytes()), &mut secrets));
        }
        for line in &encoded {
            let echo = said(&mut secrets, format!("unknown {line}").as_bytes());
            assert!(line.is_empty() || echo == "unknown [redacted]", "{echo:?}");
        }
        let auth = exchange.finish(AuthOutcome::Success, Reply::default(), None, TlsMode::None);
        (auth.identity.get().map(|i| String::from_utf8_lossy(i).into_owned()), said(&mut secrets, tell))
    }

    fn said(secrets: &mut Secrets, text: &[u8]) -> String {
        let masked = secrets.prepare().said(text);
        String::from_utf8_lossy(masked.as_deref().unwrap_or(text)).into_owned()
    }

    fn line_of(octets: &[u8]) -> Line<'_> {
        let wire = octets.len() as u64 + 2;
        Line { octets, wire, start: 0, began: NOW, ending: crate::engine::frame::LineEnding::Crlf, truncated: false }
    }

    fn identity_of(mechanism: &str, data: &[&[u8]]) -> Option<String> {
        let (first, _) = run(mechanism, true, data, b"");
        assert_eq!(run(mechanism, false, data, b"").0, first, "initial response or not");
        first
    }

    /// Mechanism, what the client sends, who that is.
    type Case = (&'static str, &'static [&'static [u8]], Option<&'static str>);

    #[test]
    fn every_mechanism_tells_its_user() {
        let cases: &[Case] = &[
            ("PLAIN", &[b"\0ann\0hunter2"], Some("ann")),
            ("plain", &[b"root\0ann\0hunter2"], Some("ann")),
            ("PLAIN", &[b"ann hunter2"], None),
            ("PLAIN", &[b"\0ann"], None),
            ("LOGIN", &[b"ann", b"hunter2"], Some("ann")),
            ("CRAM-MD5", &[b"ann of x 913e602be83a7c25f3c1bca2ee8b0e3b"], Some("ann of x")),
            ("CRAM-MD5", &[b"913e602be83a7c25f3c1bca2ee8b0e3b"], None),
            ("DIGEST-MD5", &[b"charset=utf-8,username=\"a\\\"nn, B\",realm=\"x\"", b""], Some("a\"nn, B")),
            ("DIGEST-MD5", &[b"xusername=\"no\", username=ann,x"], Some("ann")),
            ("DIGEST-MD5", &[b"realm=\"x\""], None),
            ("SCRAM-SHA-1", &[b"n,a=zed,n=a=2Cnn=3d,r=fyko+d2lbbFgONRv9qkxdawL"], Some("a,nn=")),
            ("SCRAM-SHA-256-PLUS", &[b"p=tls-unique,,n=ann,r=x", b"c=cD0,r=xy,p=bm8="], Some("ann")),
            ("SCRAM-SHA-256", &[b"garbage,n=ann"], None),
            ("XOAUTH2", &[b"user=ann@x.org\x01auth=Bearer tok3n\x01\x01"], Some("ann@x.org")),
            ("OAUTHBEARER", &[b"n,a=ann@x.org,\x01host=h\x01auth=Bearer tok3n\x01\x01", b"\x01"], Some("ann@x.org")),
            ("OAUTHBEARER", &[b"n,,\x01auth=Bearer tok3n,a=no\x01\x01"], None),
            ("EXTERNAL", &[b"ann@x.org"], Some("ann@x.org")),
            ("ANONYMOUS", &[b"trace"], None),
            ("GSSAPI", &[b"`\x82\x02", b""], None),
            ("X-SECRET", &[b"\0ann\0hunter2"], None),
        ];
        for (mechanism, data, expected) in cases {
            assert_eq!(identity_of(mechanism, data).as_deref(), *expected, "{mechanism} {data:?}");
        }
    }

    #[test]
    fn an_empty_initial_response_of_login_is_no_user_name() {
        assert_eq!(run("LOGIN", true, &[b"", b"ann", b"hunter2"], b"").0.as_deref(), Some("ann"));
        assert_eq!(run("LOGIN", false, &[b"", b"hunter2"], b"").0, None);
    }

    #[test]
    fn what_is_secret_is_masked_and_who_it_is_is_not() {
        let cases: &[(&str, &[&[u8]], &str, &str)] = &[
            ("PLAIN", &[b"\0ann\0hunter2"], "ann: hunter2 bad", "ann: [redacted] bad"),
            ("PLAIN", &[b"\0ann\0hunter2"], "aHVudGVyMg==", "[redacted]"),
            ("LOGIN", &[b"anna", b"hunter2"], "anna: hunter2", "anna: [redacted]"),
            ("CRAM-MD5", &[b"anna 913e602be83a7c25"], "anna 913e602be83a7c25", "anna [redacted]"),
            ("XOAUTH2", &[b"user=anna\x01auth=Bearer tok3n\x01\x01"], "anna tok3n", "anna [redacted]"),
            ("SCRAM-SHA-1", &[b"n,,n=ann,r=fyko+d2lbbFg"], "ann fyko+d2lbbFg", "ann [redacted]"),
            ("EXTERNAL", &[b"ann@x.org"], "ann@x.org", "ann@x.org"),
            ("X-OWN", &[b"who knows"], "who knows it", "[redacted] it"),
        ];
        for (mechanism, data, tell, expected) in cases {
            assert_eq!(run(mechanism, true, data, tell.as_bytes()).1, *expected, "{mechanism}");
        }
    }

    fn ntlm(domain: &str, user: &str, unicode: bool) -> Vec<u8> {
        let text = |s: &str| -> Vec<u8> {
            if unicode { s.encode_utf16().flat_map(u16::to_le_bytes).collect() } else { s.as_bytes().to_vec() }
        };
        let (domain, user) = (text(domain), text(user));
        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        let field = |message: &mut Vec<u8>, length: usize, offset: usize| {
            let length = u16::try_from(length).unwrap().to_le_bytes();
            message.extend_from_slice(&length);
            message.extend_from_slice(&length);
            message.extend_from_slice(&u32::try_from(offset).unwrap().to_le_bytes());
        };
        field(&mut message, 0, 64);
        field(&mut message, 0, 64);
        field(&mut message, domain.len(), 64);
        field(&mut message, user.len(), 64 + domain.len());
        field(&mut message, 0, 64);
        field(&mut message, 0, 64);
        message.extend_from_slice(&u32::from(unicode).to_le_bytes());
        message.extend(domain);
        message.extend(user);
        message
    }

    #[test]
    fn ntlm_tells_domain_and_user() {
        let first = b"NTLMSSP\0\x01\0\0\0\x07\x82\0\0".as_slice();
        let third = ntlm("DOM", "änn", true);
        assert_eq!(identity_of("NTLM", &[first, &third]).as_deref(), Some("DOM\\änn"));
        assert_eq!(identity_of("NTLM", &[&ntlm("DOM", "ann", false)]).as_deref(), Some("DOM\\ann"));
        assert_eq!(identity_of("NTLM", &[&ntlm("", "ann@x.org", true)]).as_deref(), Some("ann@x.org"));
        assert_eq!(identity_of("NTLM", &[&ntlm("DOM", "", true)]), None);
        for cut in 0..third.len() {
            assert!(identity(Mechanism::Ntlm, 0, &third[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn what_is_malformed_is_secret_all_of_it() {
        let cases: &[(&str, &[u8], &str, &str)] = &[
            ("PLAIN", b"\0ann\0s3cret\0", "s3cret", "[redacted]"),
            ("PLAIN", b"\0ann\0s3cret\xEF\xBF\xBD", "s3cret", "[redacted]"),
            ("PLAIN", b"\xEF\xBF\xBDann\xEF\xBF\xBDs3cret", "s3cret", "[redacted]"),
            ("PLAIN", b"ann:pw", "a pw", "a [redacted]"),
            ("XOAUTH2", b"user=anna\x01Auth=Bearer tok3n\x01\x01", "anna tok3n", "anna [redacted]"),
            ("XOAUTH2", b"user=anna\x01token=tok3n\x01\x01", "tok3n", "[redacted]"),
            ("CRAM-MD5", b"913e602be83a7c25", "913e602be83a7c25", "[redacted]"),
            ("LOGIN", b"\0anna\0s3cret", "anna s3cret", "[redacted] [redacted]"),
        ];
        for (mechanism, datum, tell, expected) in cases {
            assert_eq!(run(mechanism, true, &[datum], tell.as_bytes()).1, *expected, "{}", datum.escape_ascii());
        }
        for args in [
            "PLAIN\tAGFubgBzM2NyZXQ=",
            "PLAIN not:base64 s3cret",
            "s3cret",
            "\"PLAIN\" = s3cret",
            "EXCHANGEAUTH SHA256 s3cret",
        ] {
            let mut secrets = Secrets::default();
            let _ = Exchange::sasl(args.as_bytes(), OPENING, &mut secrets);
            assert_eq!(said(&mut secrets, b"bad s3cret"), "bad [redacted]", "{args}");
        }
    }

    #[test]
    fn why_a_token_is_refused_is_told_in_a_challenge() {
        let mut secrets = Secrets::default();
        let mut exchange = Exchange::sasl(b"XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHgBAQ==", OPENING, &mut secrets);
        exchange.challenge(
            BASE64.encode(br#"{"status":"401","schemes":"bearer","scope":"https://x"}"#).as_bytes(),
            &mut secrets,
        );
        assert!(exchange.response(&line_of(b""), &mut secrets));
        let auth = exchange.finish(AuthOutcome::Failed, Reply::default(), None, TlsMode::None);
        let error = auth.oauth_error.unwrap();
        assert_eq!((error.status.as_bytes(), error.scope.as_bytes()), (&b"401"[..], &b"https://x"[..]));
        assert_eq!(auth.octets, 2);
    }

    #[test]
    fn a_challenge_is_secret_and_a_prompt_is_not() {
        let mut secrets = Secrets::default();
        for (mechanism, expected) in [("LOGIN", "Username: PDE4OTYuNjk3QGg+"), ("CRAM-MD5", "Username: [redacted]")] {
            let mut exchange = Exchange::sasl(mechanism.as_bytes(), OPENING, &mut secrets);
            exchange.challenge(b"VXNlcm5hbWU6", &mut Secrets::default());
            exchange.challenge(b"PDE4OTYuNjk3QGg+", &mut secrets);
            assert_eq!(said(&mut secrets, b"Username: PDE4OTYuNjk3QGg+"), expected);
        }
    }

    #[test]
    fn a_star_cancels_and_is_no_secret() {
        for star in [&b"*"[..], b"* "] {
            let mut secrets = Secrets::default();
            let mut exchange = Exchange::sasl(b"PLAIN", OPENING, &mut secrets);
            assert!(!exchange.is_cancelled());
            assert!(!exchange.response(&line_of(star), &mut secrets));
            assert!(exchange.is_cancelled());
            assert_eq!(format!("{secrets:?}"), "0 secrets, 0 suspects");
        }
    }

    #[test]
    fn bad_base64_and_an_empty_response_tell_nobody() {
        let mut secrets = Secrets::default();
        let mut exchange = Exchange::sasl(b"PLAIN =", OPENING, &mut secrets);
        assert!(exchange.response(&line_of(b"\0ann\0hunter2"), &mut secrets));
        assert!(exchange.response(&line_of(b"AGFubgBodW50ZXIy"), &mut secrets));
        let auth = exchange.finish(AuthOutcome::Success, Reply::default(), Some(NOW), TlsMode::None);
        assert_eq!((auth.identity.as_bytes(), auth.steps, auth.initial_response), (&b"ann"[..], 2, Some(true)));
    }

    proptest! {
        #[test]
        fn no_datum_panics(index in 0..Mechanism::ALL.len(), data in proptest::collection::vec(any::<u8>(), 0..200)) {
            for mechanism in [Mechanism::ALL[index], Mechanism::Ntlm] {
                let _ = identity(mechanism, 0, &data);
                learn_parts(mechanism, 1, &data, &mut Secrets::default());
            }
            let mut message = ntlm("D", "u", true);
            message.truncate(8);
            message.extend([3, 0, 0, 0]);
            message.extend(&data);
            let _ = identity(Mechanism::Ntlm, 0, &message);
        }
    }
}
