//! Authentication of all three protocols: who, how, with what outcome; decides what is secret (RFC 4422).
//!
//! An [`Exchange`] takes the lines of both sides as they pass and gives them to [`Secrets`] before anything else.
//! What it keeps is the identity and how far it came; never a password, a proof, a token or a challenge.

use std::time::Duration;

use super::secret::{Secrets, base64};
use crate::event::Text;
use crate::event::{Auth, AuthMethod, AuthOutcome, Mechanism, Reply, TlsMode};
use crate::time::Timestamp;

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
    challenged: bool,
    cancelled: bool,
    /// A response was lost.
    missed: bool,
    /// Some of what the client said was lost.
    torn: bool,
    began: Timestamp,
    sent: Timestamp,
    /// When the client had said what it had to say; `None` while the server waits for it.
    since: Option<Timestamp>,
    /// What the server took for its challenges.
    server: Duration,
}

impl Exchange {
    /// A SASL exchange: `mechanism` as sent, `initial` the response on the command line (`=` is the empty one).
    pub(crate) fn sasl(
        mechanism: &[u8],
        initial: Option<&[u8]>,
        began: Timestamp,
        sent: Timestamp,
        secrets: &mut Secrets,
    ) -> Self {
        let mut exchange = Self {
            method: AuthMethod::Sasl,
            mechanism: Some(mechanism_of(mechanism)),
            identity: Text::default(),
            initial_response: Some(initial.is_some()),
            steps: 0,
            data: 0,
            challenged: false,
            cancelled: false,
            missed: false,
            torn: false,
            began,
            sent,
            since: Some(sent),
            server: Duration::ZERO,
        };
        if let Some(initial) = initial {
            let initial = initial.trim_ascii();
            // `AUTH LOGIN =`: the client has nothing to say yet, and the server asks for the name.
            if exchange.mechanism != Some(Mechanism::Login) || initial != b"=" {
                exchange.datum(initial, secrets);
            }
        }
        exchange
    }

    /// An exchange without SASL: IMAP LOGIN, POP3 USER and PASS, APOP.
    pub(crate) fn plain(
        method: AuthMethod,
        identity: &[u8],
        secret: &[u8],
        began: Timestamp,
        sent: Timestamp,
        secrets: &mut Secrets,
    ) -> Self {
        secrets.learn_password(secret);
        let mut text = Text::default();
        if !identity.is_empty() {
            text.set(identity);
        }
        Self {
            method,
            mechanism: None,
            identity: text,
            initial_response: None,
            steps: 0,
            data: 0,
            challenged: false,
            cancelled: false,
            missed: false,
            torn: false,
            began,
            sent,
            since: Some(sent),
            server: Duration::ZERO,
        }
    }

    /// A line of the client inside the exchange, without its line end. Returns false for `*`, which cancels
    /// (RFC 4954 section 4, RFC 5034 section 4, RFC 9051 section 6.2.2).
    pub(crate) fn response(&mut self, line: &[u8], secrets: &mut Secrets) -> bool {
        self.steps = self.steps.saturating_add(1);
        let line = line.trim_ascii();
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
        if !matches!(self.mechanism, Some(Mechanism::Plain | Mechanism::Login)) && base64(text).is_some() {
            secrets.learn(text);
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
            initial_response: self.initial_response,
            steps: self.steps,
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
        secrets.remember(line);
        let Some(decoded) = base64(line) else { return };
        learn_parts(mechanism, index, &decoded, secrets);
        if self.identity.is_present() {
            return;
        }
        match identity(mechanism, index, &decoded) {
            Some(identity) if !identity.is_empty() => self.identity.set(&identity),
            _ => {}
        }
    }
}

/// The mechanism of that name; names are case-insensitive in the protocols that carry them.
fn mechanism_of(name: &[u8]) -> Mechanism {
    let known = Mechanism::ALL.iter().find(|m| m.as_str().as_bytes().eq_ignore_ascii_case(name));
    known.copied().unwrap_or(Mechanism::Other)
}

/// Remembers what is secret in the client's datum number `index`.
fn learn_parts(mechanism: Mechanism, index: u32, datum: &[u8], secrets: &mut Secrets) {
    match mechanism {
        Mechanism::Plain => secrets.learn_password(datum.rsplit(|o| *o == 0).next().unwrap_or_default()),
        // The first is the name, whatever the prompt said.
        Mechanism::Login if index == 0 => {}
        Mechanism::Login => secrets.learn_password(datum),
        Mechanism::External => {}
        Mechanism::CramMd5 => secrets.remember(datum.rsplit(|o| *o == b' ').next().unwrap_or_default()),
        Mechanism::XOAuth2 | Mechanism::OAuthBearer => {
            let credentials = datum.split(|o| *o == 1).find_map(|pair| pair.strip_prefix(b"auth="));
            secrets.remember(credentials.unwrap_or(datum));
            let token = credentials.and_then(|c| c.iter().position(|o| *o == b' ').and_then(|sp| c.get(sp + 1..)));
            secrets.remember(token.unwrap_or_default());
        }
        _ => {
            secrets.remember(datum);
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

/// Who the client claims to be in its datum number `index`, if this mechanism tells it there.
fn identity(mechanism: Mechanism, index: u32, datum: &[u8]) -> Option<Vec<u8>> {
    match mechanism {
        // RFC 4616 section 2: authzid NUL authcid NUL passwd.
        Mechanism::Plain => {
            let mut parts = datum.split(|o| *o == 0).skip(1);
            let authcid = parts.next()?;
            parts.next().map(|_| authcid.to_vec())
        }
        Mechanism::Login if index == 0 => Some(datum.strip_suffix(b"\0").unwrap_or(datum).to_vec()),
        // RFC 2195 section 2: the user name may contain spaces, the digest does not.
        Mechanism::CramMd5 => {
            let space = datum.iter().rposition(|o| *o == b' ')?;
            datum.get(..space).map(<[u8]>::to_vec)
        }
        Mechanism::DigestMd5 => digest_username(datum),
        Mechanism::XOAuth2 => {
            let pair = datum.split(|o| *o == 1).next()?;
            pair.strip_prefix(b"user=").map(<[u8]>::to_vec)
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
    use data_encoding::BASE64;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_nanos(5);

    /// Identity after `data` were sent, the first as the initial response if `initial`; and `tell` as masked.
    fn run(mechanism: &str, initial: bool, data: &[&[u8]], tell: &[u8]) -> (Option<String>, String) {
        let mut secrets = Secrets::default();
        let encoded: Vec<String> = data.iter().map(|d| BASE64.encode(d)).collect();
        let mut rest = encoded.iter();
        let first = if initial { rest.next().map(String::as_bytes) } else { None };
        let mut exchange = Exchange::sasl(mechanism.as_bytes(), first, NOW, NOW, &mut secrets);
        for line in rest {
            exchange.challenge(b"", &mut secrets);
            assert!(exchange.response(line.as_bytes(), &mut secrets));
        }
        let mut text = Text::default();
        text.set(tell);
        secrets.mask(&mut text);
        for line in &encoded {
            let mut echo = Text::default();
            echo.set(format!("unknown {line}").as_bytes());
            secrets.mask(&mut echo);
            assert!(line.is_empty() || echo.as_bytes() == b"unknown [redacted]", "{echo:?}");
        }
        let auth = exchange.finish(AuthOutcome::Success, Reply::default(), None, TlsMode::None);
        (
            auth.identity.get().map(|i| String::from_utf8_lossy(i).into_owned()),
            String::from_utf8_lossy(text.as_bytes()).into_owned(),
        )
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
            ("LOGIN", &[b"", b"hunter2"], None),
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
    fn a_challenge_is_secret_and_a_prompt_is_not() {
        let mut secrets = Secrets::default();
        let mut text = Text::default();
        for (mechanism, expected) in [("LOGIN", "Username: PDE4OTYuNjk3QGg+"), ("CRAM-MD5", "Username: [redacted]")] {
            let mut exchange = Exchange::sasl(mechanism.as_bytes(), None, NOW, NOW, &mut secrets);
            exchange.challenge(b"VXNlcm5hbWU6", &mut Secrets::default());
            exchange.challenge(b"PDE4OTYuNjk3QGg+", &mut secrets);
            text.set(b"Username: PDE4OTYuNjk3QGg+");
            secrets.mask(&mut text);
            assert_eq!(text.as_bytes().escape_ascii().to_string(), expected);
        }
    }

    #[test]
    fn a_star_cancels_and_is_no_secret() {
        for star in [&b"*"[..], b"* "] {
            let mut secrets = Secrets::default();
            let mut exchange = Exchange::sasl(b"PLAIN", None, NOW, NOW, &mut secrets);
            assert!(!exchange.is_cancelled());
            assert!(!exchange.response(star, &mut secrets));
            assert!(exchange.is_cancelled());
            assert_eq!(format!("{secrets:?}"), "0 secrets");
        }
    }

    #[test]
    fn bad_base64_and_an_empty_response_tell_nobody() {
        let mut secrets = Secrets::default();
        let mut exchange = Exchange::sasl(b"PLAIN", Some(b"="), NOW, NOW, &mut secrets);
        assert!(exchange.response(b"\0ann\0hunter2", &mut secrets));
        assert!(exchange.response(b"AGFubgBodW50ZXIy", &mut secrets));
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
