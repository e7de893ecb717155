//! What several tests need.

use super::settings::{AdmissionSettings, ListenerSettings, Target, Times};

/// A plain listener that goes on to `target`.
pub(super) fn listener(target: Target) -> ListenerSettings {
    ListenerSettings {
        name: "mx".into(),
        listen: Vec::new(),
        target,
        spoof_source: false,
        mark: None,
        protocol: None,
        header_from: Vec::new(),
        health_from: Vec::new(),
        header_to: None,
        tls: None,
        admission: AdmissionSettings::default(),
        times: Times::default(),
    }
}
