//! What a reload cannot change: the keys that differ between two readings of the configuration and need a restart.
//!
//! Every other key takes effect with the reload. A test goes through all keys of both modes, so that none is silently ignored.

use super::{Proxy, Running, Sniff};
use crate::output::{Policy, pcapng};

impl Proxy {
    /// Keys that `now` has otherwise and that need a restart. Those of listeners, `drain-timeout`, and token, certificate
    /// and host names of the metrics do not; `hash` and `port-map` hold for new connections.
    pub fn restart_keys(&self, now: &Self) -> Vec<&'static str> {
        let (own, other) = (&self.proxy, &now.proxy);
        let mut keys = Vec::new();
        let mut changed = Changed(&mut keys);
        changed.key("on-fault", own.forwarding.on_fault == other.forwarding.on_fault);
        changed.key("splice", own.forwarding.splice == other.forwarding.splice);
        changed.key("handover", own.handover == other.handover);
        changed.key("threads", own.threads == other.threads);
        changed.policy(&self.policy, &now.policy);
        changed.running(&self.running, &now.running);
        keys
    }
}

impl Sniff {
    /// Keys that `now` has otherwise and that need a restart. `filter` and token, certificate and host names of the metrics do
    /// not.
    pub fn restart_keys(&self, now: &Self) -> Vec<&'static str> {
        let mut keys = Vec::new();
        let mut changed = Changed(&mut keys);
        changed.key("interface", self.interfaces == now.interfaces);
        let (own, other) = (&self.options, &now.options);
        changed.key("snaplen", own.snaplen == other.snaplen);
        changed.key("buffer", own.buffer == other.buffer);
        changed.key("gather", own.gather == other.gather);
        changed.key("no-promiscuous", own.promiscuous == other.promiscuous);
        changed.write(self.write.as_ref(), now.write.as_ref());
        changed.key("hash", self.limits.hash == now.limits.hash);
        changed.key("port-map", self.limits.ports == now.limits.ports);
        changed.key("threads", self.threads == now.threads);
        changed.key("max-flows", self.flows.flows == now.flows.flows);
        changed.key("max-buffer", self.flows.buffered == now.flows.buffered);
        changed.policy(&self.policy, &now.policy);
        changed.running(&self.running, &now.running);
        keys
    }
}

/// Gathers the keys that differ.
struct Changed<'a>(&'a mut Vec<&'static str>);

impl Changed<'_> {
    fn key(&mut self, key: &'static str, is_same: bool) {
        if !is_same {
            self.0.push(key);
        }
    }

    fn write(&mut self, own: Option<&pcapng::PacketFileSettings>, now: Option<&pcapng::PacketFileSettings>) {
        self.key("write", own.map(|write| &write.path) == now.map(|write| &write.path));
        if let (Some(own), Some(now)) = (own, now) {
            self.key("write-size", own.size == now.size);
            self.key("write-time", own.age == now.age);
            self.key("write-files", own.files == now.files);
        }
    }

    fn policy(&mut self, own: &Policy, now: &Policy) {
        self.key("records", own.records == now.records);
        self.key("detail", own.detail == now.detail);
        self.key("identity", own.identity == now.identity);
        self.key("identity-failed", own.identity_failed == now.identity_failed);
        self.key("identity-key", own.key == now.key);
    }

    fn running(&mut self, own: &Running, now: &Running) {
        self.key("log", own.log.path == now.log.path);
        self.key("log-mode", own.log.mode == now.log.mode);
        self.key("log-rotate", own.log.rotate == now.log.rotate);
        self.key("log-files", own.log.files == now.log.files);
        let listen = |of: &Running| of.monitor.server.as_ref().map(|server| server.listen);
        self.key("metrics-listen", listen(own) == listen(now));
        let reasons = |of: &Running| (of.monitor.reply_reasons.clone(), of.reasons.clone());
        self.key("reply-reasons", reasons(own) == reasons(now));
        self.key("top-file", own.monitor.top_file == now.monitor.top_file);
        self.key("top-users", own.monitor.top_users == now.monitor.top_users);
        self.key("user", own.process.user == now.process.user);
        self.key("no-sandbox", own.process.sandbox == now.process.sandbox);
        self.key("quiet", own.quiet == now.quiet);
        self.key("verbose", own.verbose == now.verbose);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::config::layers::{LoadedFile, keys_of};

    /// A value of each key that is not its default; without one it takes effect with a reload.
    const KEYS: [(&str, &[&str]); 40] = [
        ("buffer", &["'2MiB'"]),
        ("detail", &["'headers'"]),
        ("drain-timeout", &[]),
        ("filter", &[]),
        ("gather", &["'10ms'"]),
        ("handover", &["'/no/such/handover'"]),
        ("hash", &["'none'"]),
        ("identity", &["'none'"]),
        ("identity-failed", &["'full'"]),
        ("identity-key", &["'other'"]),
        ("interface", &["['lo', 'eth0']"]),
        ("log", &["'/no/such/log'"]),
        ("log-files", &["9"]),
        ("log-mode", &["'0600'"]),
        ("log-rotate", &["'1MB'"]),
        ("max-buffer", &["'1MiB'"]),
        ("max-flows", &["1600"]),
        ("metrics-cert", &[]),
        ("metrics-host", &[]),
        ("metrics-key", &[]),
        ("metrics-listen", &["9999"]),
        ("metrics-token", &[]),
        ("no-promiscuous", &["true"]),
        ("no-sandbox", &["true"]),
        ("on-fault", &["'close'"]),
        ("port-map", &["'2525=smtp'"]),
        ("quiet", &["true"]),
        ("records", &["'session'"]),
        ("reply-reasons", &["'/no/such/reasons'"]),
        ("snaplen", &["100"]),
        ("splice", &["'off'"]),
        ("threads", &["7"]),
        ("top-file", &["'/no/such/top'"]),
        ("top-users", &["true"]),
        ("user", &["'nobody'"]),
        ("verbose", &["2"]),
        ("write", &["'/no/such/capture'"]),
        ("write-files", &["9"]),
        ("write-size", &["'1MB'"]),
        ("write-time", &["'1m'"]),
    ];

    fn proxy(text: &str) -> Proxy {
        let Ok(cli::Request::Proxy(typed)) = cli::Request::parse(["mailtap", "proxy"]) else { panic!("another mode") };
        crate::config::proxy::ready(&typed, &LoadedFile::of(text), 3, &|_| Ok(Vec::new())).unwrap()
    }

    fn sniff(text: &str) -> Sniff {
        let Ok(cli::Request::Sniff(typed)) = cli::Request::parse(["mailtap", "sniff"]) else { panic!("another mode") };
        crate::config::sniff::ready(&typed, &LoadedFile::of(text), 3, &|_| Ok(Vec::new())).unwrap()
    }

    /// The keys that a change of `key` to `value` names, if `base` is what the file says besides.
    fn named<T>(
        base: &[&str],
        key: &str,
        value: &str,
        made: fn(&str) -> T,
        of: fn(&T, &T) -> Vec<&'static str>,
    ) -> Vec<&'static str> {
        let is_other = |line: &&&str| line.split(" = ").next() != Some(key);
        let others = base.iter().filter(is_other).copied().collect::<Vec<_>>().join("\n");
        let before = made(&base.join("\n"));
        of(&before, &made(&format!("{key} = {value}\n{others}")))
    }

    #[test]
    fn every_key_takes_effect_or_is_named() {
        let common = ["log-rotate = '2MB'", "identity-key = 'one'", "metrics-listen = 9325"];
        let of_proxy = [&common[..], &["upstream = '192.0.2.25'"]].concat();
        let of_sniff = [&common[..], &["interface = 'lo'", "write = '/no/such/file'"]].concat();
        let values = |key: &str| {
            let found = KEYS.iter().find(|(known, _)| *known == key);
            found.unwrap_or_else(|| panic!("{key}: does it take effect with a reload? Then without a value here")).1
        };
        let running =
            [keys_of::<cli::LogFlags>(), keys_of::<cli::RunningFlags>(), keys_of::<cli::Verbosity>()].concat();
        for key in [&running[..], keys_of::<cli::ForwardingFlags>()].concat() {
            for value in values(key).iter().filter(|_| !["hash", "port-map"].contains(&key)) {
                assert_eq!(named(&of_proxy, key, value, proxy, Proxy::restart_keys), [key]);
            }
        }
        for key in [&running[..], keys_of::<cli::CaptureFlags>(), keys_of::<cli::Analysis>()].concat() {
            for value in values(key) {
                assert_eq!(named(&of_sniff, key, value, sniff, Sniff::restart_keys), [key]);
            }
        }
        // Another content of the same file is another value.
        let before = proxy(&of_proxy.join("\n"));
        let mut now = before.clone();
        now.running.reasons = Some(b"spam = 'spam'".to_vec());
        assert_eq!(before.restart_keys(&now), ["reply-reasons"]);
        assert!(before.restart_keys(&proxy(&of_proxy.join("\n"))).is_empty());
    }
}
