//! Why a handshake failed, in a word: for records, metrics and warnings.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use crate::event::TlsFailure;

/// The word for `error`, which ended a handshake or came right behind one.
pub fn failure(error: &io::Error) -> TlsFailure {
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        return of_library(error);
    }
    if inner.is_some_and(<dyn std::error::Error + Send + Sync + 'static>::is::<ServerRefusal>) {
        return TlsFailure::Refused;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => TlsFailure::Closed,
        io::ErrorKind::TimedOut => TlsFailure::Timeout,
        _ => TlsFailure::Other,
    }
}

/// A server's answer that leaves no way to TLS.
#[derive(Debug)]
pub(super) struct ServerRefusal(&'static str);

impl ServerRefusal {
    /// `reason`: what the server did.
    pub(super) fn error(reason: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionRefused, Self(reason))
    }
}

impl std::fmt::Display for ServerRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ServerRefusal {}

fn of_library(error: &Error) -> TlsFailure {
    match error {
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidCertificate(wrong) => of_certificate(wrong),
        Error::NoCertificatesPresented => TlsFailure::CertificateRequired,
        // The first bytes are no record (RFC 8446 section 5.1): most often a command in clear, or a greeting.
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge,
        ) => TlsFailure::NotTls,
        Error::PeerIncompatible(wrong) => of_peer(wrong),
        _ => TlsFailure::Other,
    }
}

fn of_alert(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::UnknownCA => TlsFailure::UnknownCa,
        AlertDescription::CertificateExpired => TlsFailure::Expired,
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => TlsFailure::CertificateRequired,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        // A signature could not be verified (RFC 8446 section 6.2).
        | AlertDescription::DecryptError => TlsFailure::BadCertificate,
        AlertDescription::UnrecognisedName => TlsFailure::NameMismatch,
        AlertDescription::ProtocolVersion | AlertDescription::InappropriateFallback => TlsFailure::ProtocolVersion,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => TlsFailure::NoCommonCipher,
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => TlsFailure::Closed,
        _ => TlsFailure::Other,
    }
}

fn of_certificate(wrong: &CertificateError) -> TlsFailure {
    match wrong {
        // An authority that has the name of a trusted one, and another key, is another authority.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFailure::UnknownCa,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFailure::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFailure::NameMismatch,
        _ => TlsFailure::BadCertificate,
    }
}

fn of_peer(wrong: &PeerIncompatible) -> TlsFailure {
    match wrong {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => TlsFailure::ProtocolVersion,
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon => TlsFailure::NoCommonCipher,
        _ => TlsFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_words() {
        let of = |error: Error| failure(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(of(Error::AlertReceived(AlertDescription::UnknownCA)), TlsFailure::UnknownCa);
        assert_eq!(of(CertificateError::NotValidYet.into()), TlsFailure::NotYetValid);
        assert_eq!(of(CertificateError::NotValidForName.into()), TlsFailure::NameMismatch);
        assert_eq!(of(InvalidMessage::InvalidContentType.into()), TlsFailure::NotTls);
        assert_eq!(of(PeerIncompatible::Tls12NotOffered.into()), TlsFailure::ProtocolVersion);
        assert_eq!(of(Error::DecryptError), TlsFailure::Other);
        assert_eq!(failure(&ServerRefusal::error("no")), TlsFailure::Refused);
        assert_eq!(failure(&io::ErrorKind::ConnectionReset.into()), TlsFailure::Closed);
        assert_eq!(failure(&io::ErrorKind::TimedOut.into()), TlsFailure::Timeout);
    }
}
