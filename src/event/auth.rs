//! An authentication attempt (RFC 4422; RFC 4954, RFC 5034, RFC 9051).

use std::time::Duration;

use super::command::Reply;
use super::incomplete::Incomplete;
use super::text::Text;
use super::tls::TlsMode;
use super::words::words;
use crate::time::Timestamp;

words! {
    /// How a client tried to authenticate.
    AuthMethod {
        /// SASL (RFC 4422).
        Sasl = "sasl",
        /// IMAP LOGIN.
        Login = "login",
        /// POP3 USER and PASS.
        UserPass = "user_pass",
        /// POP3 APOP.
        Apop = "apop",
    }
}

words! {
    /// How an authentication attempt ended.
    AuthOutcome {
        /// Accepted.
        Success = "success",
        /// Refused for good.
        Failed = "failed",
        /// Refused for now.
        Temporary = "temporary",
        /// The client gave up with `*`.
        Cancelled = "cancelled",
        /// The mechanism is not on offer.
        RejectedMechanism = "rejected_mechanism",
        /// Encryption is demanded first.
        NeedsTls = "needs_tls",
        /// No final reply was seen.
        Incomplete = "incomplete",
    }
}

words! {
    /// SASL mechanisms of the IANA registry and of the field.
    Mechanism {
        /// RFC 4616.
        Plain = "PLAIN",
        /// draft-murchison-sasl-login.
        Login = "LOGIN",
        /// RFC 2195.
        CramMd5 = "CRAM-MD5",
        /// RFC 2831.
        DigestMd5 = "DIGEST-MD5",
        /// RFC 5802.
        ScramSha1 = "SCRAM-SHA-1",
        /// RFC 5802 with channel binding.
        ScramSha1Plus = "SCRAM-SHA-1-PLUS",
        /// RFC 7677.
        ScramSha256 = "SCRAM-SHA-256",
        /// RFC 7677 with channel binding.
        ScramSha256Plus = "SCRAM-SHA-256-PLUS",
        /// draft-melnikov-scram-sha-512.
        ScramSha512 = "SCRAM-SHA-512",
        /// The same with channel binding.
        ScramSha512Plus = "SCRAM-SHA-512-PLUS",
        /// draft-melnikov-scram-sha3-512.
        ScramSha3512 = "SCRAM-SHA3-512",
        /// The same with channel binding.
        ScramSha3512Plus = "SCRAM-SHA3-512-PLUS",
        /// Google's OAuth 2.0 mechanism.
        XOAuth2 = "XOAUTH2",
        /// RFC 7628.
        OAuthBearer = "OAUTHBEARER",
        /// RFC 7628.
        OAuth10a = "OAUTH10A",
        /// RFC 4752.
        Gssapi = "GSSAPI",
        /// RFC 4178 through SASL.
        GssSpnego = "GSS-SPNEGO",
        /// RFC 5801.
        Gs2Krb5 = "GS2-KRB5",
        /// RFC 5801 with channel binding.
        Gs2Krb5Plus = "GS2-KRB5-PLUS",
        /// RFC 2222.
        KerberosV4 = "KERBEROS_V4",
        /// MS-SMTPNTLM and kin.
        Ntlm = "NTLM",
        /// RFC 4422 appendix A.
        External = "EXTERNAL",
        /// RFC 4505.
        Anonymous = "ANONYMOUS",
        /// RFC 2444.
        Otp = "OTP",
        /// RFC 2222.
        Skey = "SKEY",
        /// RFC 2808.
        SecurId = "SECURID",
        /// draft-burdis-cat-srp-sasl.
        Srp = "SRP",
        /// draft-vanrein-diameter-sasl.
        SxOver = "SXOVER-PLUS",
        /// RFC 6595.
        Saml20 = "SAML20",
        /// RFC 6616.
        OpenId20 = "OPENID20",
        /// RFC 7055.
        Eap = "EAP-AES128",
        /// Registered by nobody.
        Other = "OTHER",
    }
}

/// One authentication attempt, at its final reply.
#[derive(Debug)]
pub struct Auth {
    /// Time of the command's first octet.
    pub began: Timestamp,
    /// How.
    pub method: AuthMethod,
    /// SASL mechanism.
    pub mechanism: Option<Mechanism>,
    /// Who claims to be, NTLM as `DOMAIN\user`. Personal data, not a secret; outputs apply their policy.
    pub identity: Text,
    /// Whether an earlier attempt of this session succeeded with the same identity: then a failed one is no mistyped password.
    pub identity_proven: bool,
    /// How it ended.
    pub outcome: AuthOutcome,
    /// The final reply.
    pub reply: Reply,
    /// Why the server did not take a token (RFC 7628 section 3.2.2); XOAUTH2 and OAUTHBEARER.
    pub oauth_error: Option<Box<OauthError>>,
    /// SASL: the first response came with the command. `None` for methods without.
    pub initial_response: Option<bool>,
    /// Client responses sent after the command.
    pub steps: u32,
    /// Bytes of the client's lines of the attempt.
    pub octets: u64,
    /// Encryption at that time.
    pub tls: TlsMode,
    /// From the command's last octet to the final reply's.
    pub latency: Option<Duration>,
    /// Of that, what the server took: the time in which the client made up its responses is left out.
    pub server_latency: Option<Duration>,
    /// What was not seen of it.
    pub incomplete: Incomplete,
}

/// The authentication of a session in short.
#[derive(Debug, Default)]
pub struct AuthSummary {
    /// Method of the last attempt, or of the successful one.
    pub method: Option<AuthMethod>,
    /// Its mechanism.
    pub mechanism: Option<Mechanism>,
    /// Its identity.
    pub identity: Text,
    /// Its outcome.
    pub outcome: Option<AuthOutcome>,
    /// How many there were.
    pub attempts: u32,
}

/// Why the server did not take a token, as it told in a challenge.
#[derive(Debug, Default)]
pub struct OauthError {
    /// An HTTP status, or a word such as `invalid_token`.
    pub status: Text,
    /// The scope that a token should have.
    pub scope: Text,
}
