//! TLS that a listener answers, made ready from its flags.

use std::path::PathBuf;

use crate::cli::{ListenerFlags, TlsMinimum};
use crate::error::Error;
use crate::proxy::settings::{Cipher, TlsBounds, TlsListen, TlsSettings, TlsUpstream};

/// The TLS of the listener `name`; `None` if it is passed through.
pub(super) fn tls(name: &str, flags: &ListenerFlags) -> Result<Option<TlsSettings>, Error> {
    let wrong = |text: String| Err(Error::Usage(format!("listener {name}: {text}")));
    let certificates = flags.tls_cert.as_deref().unwrap_or_default();
    let keys = flags.tls_key.as_deref().unwrap_or_default();
    let Some(listen) = flags.tls.filter(|listen| *listen != TlsListen::Passthrough) else {
        return match key_of_no_use(flags) {
            Some(key) => wrong(format!(
                "{key} is of use only where TLS is answered: give it tls implicit or starttls, or leave {key} out"
            )),
            None => Ok(None),
        };
    };
    if certificates.is_empty() || certificates.len() != keys.len() {
        return wrong(format!(
            "tls {} needs certificates and as many keys; it has {} and {}",
            listen.as_str(),
            certificates.len(),
            keys.len()
        ));
    }
    if flags.tls_client_auth.is_some() && flags.tls_client_ca.is_none() {
        return wrong(
            "tls-client-auth needs the authorities of the clients' certificates: give it tls-client-ca".into(),
        );
    }
    let identity = match (&flags.upstream_cert, &flags.upstream_key) {
        (Some(chain), Some(key)) => Some((chain.clone(), key.clone())),
        (None, None) => None,
        _ => return wrong("upstream-cert and upstream-key belong together: give it both".into()),
    };
    let upstream = flags.upstream_tls.unwrap_or(TlsUpstream::None);
    Ok(Some(TlsSettings {
        listen,
        certificates: certificates.iter().cloned().zip(keys.iter().cloned()).collect(),
        upstream,
        authorities: flags.upstream_ca.clone(),
        name: flags.upstream_name.clone(),
        bounds: bounds(flags.tls_min, flags.tls_ciphers.as_ref()),
        upstream_bounds: bounds(flags.upstream_tls_min, flags.upstream_tls_ciphers.as_ref()),
        clients: flags.tls_client_ca.clone().map(|path| (path, flags.tls_client_auth.unwrap_or_default())),
        identity,
    }))
}

fn bounds(min: Option<TlsMinimum>, ciphers: Option<&Vec<Cipher>>) -> TlsBounds {
    TlsBounds {
        min: min.map(|TlsMinimum(version)| version).unwrap_or_default(),
        ciphers: ciphers.cloned().unwrap_or_default(),
    }
}

/// A key that says something of TLS that is answered here.
fn key_of_no_use(flags: &ListenerFlags) -> Option<&'static str> {
    let is_given = |list: &Option<Vec<PathBuf>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let keys = [
        ("tls-cert", is_given(&flags.tls_cert)),
        ("tls-key", is_given(&flags.tls_key)),
        ("tls-min", flags.tls_min.is_some()),
        ("tls-ciphers", flags.tls_ciphers.is_some()),
        ("tls-client-ca", flags.tls_client_ca.is_some()),
        ("tls-client-auth", flags.tls_client_auth.is_some()),
        ("upstream-tls", flags.upstream_tls.is_some()),
    ];
    keys.into_iter().find_map(|(key, given)| given.then_some(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::{ClientCertificate, TlsVersion};

    fn flags() -> ListenerFlags {
        ListenerFlags {
            tls: Some(TlsListen::Implicit),
            tls_cert: Some(vec!["chain".into()]),
            tls_key: Some(vec!["key".into()]),
            ..ListenerFlags::default()
        }
    }

    #[test]
    fn bounds_and_certificates_of_both_sides_are_told_apart() {
        let told = ListenerFlags {
            tls_min: Some("TLSv1.3".parse().unwrap()),
            tls_client_ca: Some("clients".into()),
            upstream_cert: Some("own".into()),
            upstream_key: Some("own-key".into()),
            upstream_tls_ciphers: Some(vec![Cipher::Aes128]),
            ..flags()
        };
        let tls = tls("a", &told).unwrap().unwrap();
        assert_eq!((tls.bounds.min, tls.upstream_bounds.min), (TlsVersion::Tls13, TlsVersion::Tls12));
        assert_eq!((tls.bounds.ciphers, tls.upstream_bounds.ciphers), (Vec::new(), vec![Cipher::Aes128]));
        assert_eq!(tls.clients, Some(("clients".into(), ClientCertificate::Required)));
        assert_eq!(tls.identity, Some(("own".into(), "own-key".into())));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let fault = |flags: &ListenerFlags| tls("a", flags).unwrap_err().to_string();
        let passed = ListenerFlags { tls_min: Some(TlsMinimum(TlsVersion::Tls13)), ..ListenerFlags::default() };
        assert!(fault(&passed).contains("tls-min is of use only where TLS is answered"));
        let half = ListenerFlags { upstream_cert: Some("own".into()), ..flags() };
        assert!(fault(&half).contains("upstream-cert and upstream-key belong together"));
        let no_authority = ListenerFlags { tls_client_auth: Some(ClientCertificate::Optional), ..flags() };
        assert!(fault(&no_authority).contains("give it tls-client-ca"));
        for text in ["1.1", "TLS", "SSLv3", ""] {
            assert!(text.parse::<TlsMinimum>().is_err(), "{text}");
        }
    }
}
