//! Certificates made for a test.

use std::fs;
use std::path::PathBuf;

use crate::proxy::settings::{TlsBounds, TlsListen, TlsSettings, TlsUpstream};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// An authority and a folder for what it vouches for.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) folder: tempfile::TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// The authority's own certificate.
    pub(super) fn own(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A chain and its key for `names`.
    pub(super) fn files(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        self.files_of(names, &KeyPair::generate().unwrap())
    }

    /// Settings of a listener that has the certificate `files`, before a server that this authority vouches for.
    pub(super) fn settings(&self, files: &(PathBuf, PathBuf)) -> TlsSettings {
        TlsSettings {
            listen: TlsListen::Implicit,
            certificates: vec![files.clone()],
            upstream: TlsUpstream::Implicit,
            authorities: Some(self.own()),
            name: None,
            bounds: TlsBounds::default(),
            upstream_bounds: TlsBounds::default(),
            clients: None,
            identity: None,
        }
    }

    pub(super) fn files_of(&self, names: &[&str], key: &KeyPair) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.not_after = rcgen::date_time_ymd(2049, 12, 31);
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        let name = names.first().map_or("nobody", |name| name.strip_prefix("*.").unwrap_or(name));
        let kind = key.algorithm() == &rcgen::PKCS_ED25519;
        let path = |what: &str| self.folder.path().join(format!("{name}{kind}.{what}"));
        fs::write(path("cert"), certificate.pem()).unwrap();
        fs::write(path("key"), key.serialize_pem()).unwrap();
        (path("cert"), path("key"))
    }
}
