//! One interface: opened, watched, and opened again.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pcap::{Active, Capture, Error, Linktype, Precision};

use super::filter;
use super::{DeviceError, DeviceErrorKind, InterfaceCounters, Moment, Options, Switch};
use crate::console::{self, Level};
use crate::time::Timestamp;
use crate::wire::{LinkType, Packet};

/// The pseudo-interface of all interfaces.
const ANY: &str = "any";

/// How often the kernel's counters are read.
const STATISTICS: Duration = Duration::from_secs(1);

/// How long a thread waits for a packet before it looks around.
const LOOK: Duration = Duration::from_millis(250);

/// How long to wait before an interface that went away is tried again: at first, and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// How long packets are still taken after the end, on a link that never rests.
const LAST: Duration = Duration::from_millis(500);

/// An open interface.
pub struct Device {
    name: String,
    source: u32,
    options: Options,
    /// Filters that were set since.
    filters: u64,
    link: LinkType,
    handle: Option<Capture<Active>>,
    counters: Arc<InterfaceCounters>,
    /// Kernel's counters as they were read last: drops, drops of the interface.
    seen: [u32; 2],
    read: Instant,
}

impl Device {
    /// Opens the interface `name`. Its packets will say that they are from `source`.
    pub fn open(name: &str, source: u32, options: &Options) -> Result<Self, DeviceError> {
        let (handle, link) = open(name, options)?;
        Ok(Self {
            name: name.to_owned(),
            source,
            options: options.clone(),
            filters: 0,
            link,
            handle: Some(handle),
            counters: Arc::default(),
            seen: [0; 2],
            read: Instant::now(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its packets begin with.
    pub const fn link(&self) -> LinkType {
        self.link
    }

    /// What becomes of its packets.
    pub fn counters(&self) -> &Arc<InterfaceCounters> {
        &self.counters
    }

    /// Whether it can go away, so that opening it again may take the privilege again.
    pub fn may_go(&self) -> bool {
        self.name != ANY
    }

    /// Hands packets over until `switch` stops it.
    pub fn watch(mut self, switch: &Switch, take: &mut dyn FnMut(Moment<'_>)) {
        while !switch.is_stopped() {
            let taken = self.round(take);
            take(Moment::Pause);
            match taken {
                Ok(0) => {
                    let wrong = switch.or_readable(self.handle.as_ref().map(Capture::as_fd), LOOK);
                    if wrong && !self.counters.is_away() {
                        self.go_down();
                    }
                    if wrong {
                        // It may stay so: no reason to be asked again at once.
                        switch.or_readable(None, RETRY[0]);
                    }
                }
                Ok(_) => {}
                Err(reason) => self.come_back(&reason, switch, take),
            }
            if self.read.elapsed() >= STATISTICS {
                self.read_statistics();
                if self.counters.is_away() && is_up(&self.name) {
                    self.come_up();
                }
            }
            if let Some(filter) = switch.new_filter(&mut self.filters) {
                self.set_filter(filter);
            }
        }
        self.last_packets(take);
        self.read_statistics();
        take(Moment::Pause);
    }

    /// Takes what one block of the ring holds.
    fn round(&mut self, take: &mut dyn FnMut(Moment<'_>)) -> Result<usize, Error> {
        let Some(handle) = &mut self.handle else {
            return Err(Error::NoMorePackets);
        };
        let (source, link) = (self.source, self.link);
        let (mut octets, mut cut) = (0, 0);
        let taken = handle.dispatch(None, |packet| {
            let pcap::PacketHeader { ts, caplen, len } = *packet.header;
            octets += u64::from(caplen);
            cut += u64::from(caplen < len);
            let seconds = u64::try_from(ts.tv_sec).unwrap_or_default();
            let nanos = u64::try_from(ts.tv_usec).unwrap_or_default();
            let at = Timestamp::from_parts(seconds, nanos);
            take(Moment::Packet(&Packet { at, source, link, data: packet.data, wire_len: len }));
        })?;
        self.counters.packets.add(taken as u64);
        self.counters.octets.add(octets);
        self.counters.cut.add(cut);
        Ok(taken)
    }

    /// The kernel hands over a block that is not full only after [`Options::gather`]: what came before the end is
    /// waited for.
    fn last_packets(&mut self, take: &mut dyn FnMut(Moment<'_>)) {
        std::thread::sleep(self.options.gather + Duration::from_millis(10));
        let until = Instant::now() + LAST;
        while self.handle.is_some() && matches!(self.round(take), Ok(1..)) && Instant::now() < until {}
    }

    /// The interface is gone: tries until it is back.
    fn come_back(&mut self, reason: &Error, switch: &Switch, take: &mut dyn FnMut(Moment<'_>)) {
        self.last_packets(take);
        take(Moment::Pause);
        self.read_statistics();
        self.handle = None;
        let name = &self.name;
        if !self.counters.is_away() {
            self.counters.lost.add(1);
            self.counters.set_away(true);
            console::print(Level::Warning, &format!("{name}: {}; waiting for the interface", words(reason)));
        }
        let [mut wait, longest] = RETRY;
        loop {
            switch.or_readable(None, wait);
            if switch.is_stopped() {
                return;
            }
            match open(name, &self.options) {
                Ok((handle, link)) if link == self.link => {
                    self.handle = Some(handle);
                    self.seen = [0; 2];
                    self.counters.reopened.add(1);
                    // It may be there and down.
                    if is_up(name) {
                        self.come_up();
                    }
                    return;
                }
                Ok((_, link)) => tracing::debug!(%name, ?link, "another link type"),
                Err(trouble) => tracing::debug!(%name, %trouble, "still away"),
            }
            wait = (wait * 2).min(longest);
        }
    }

    /// It was taken down: libpcap waits, and goes on by itself when it is up again.
    fn go_down(&mut self) {
        if is_up(&self.name) {
            return;
        }
        self.counters.lost.add(1);
        self.counters.set_away(true);
        console::print(Level::Warning, &format!("{}: is down; waiting for the interface", self.name));
    }

    fn come_up(&mut self) {
        self.counters.set_away(false);
        console::print(Level::Warning, &format!("{}: is back", self.name));
    }

    /// Takes another filter; one that cannot be used changes nothing.
    fn set_filter(&mut self, filter: Option<String>) {
        let options = Options { filter, ..self.options.clone() };
        let set = self.handle.as_mut().map_or(Ok(()), |handle| set_filter(handle, self.link, &options));
        match set {
            Ok(()) => self.options = options,
            Err(what) => {
                let trouble = DeviceError { interface: self.name.clone(), what };
                console::print(Level::Error, &format!("{trouble}; the filter stays as it was"));
            }
        }
    }

    /// The kernel counts from the opening on, in 32 bits.
    fn read_statistics(&mut self) {
        self.read = Instant::now();
        let Some(Ok(now)) = self.handle.as_mut().map(Capture::stats) else {
            return;
        };
        let [kernel, interface] = self.seen;
        self.counters.dropped_kernel.add(now.dropped.wrapping_sub(kernel).into());
        self.counters.dropped_interface.add(now.if_dropped.wrapping_sub(interface).into());
        self.seen = [now.dropped, now.if_dropped];
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("name", &self.name).field("link", &self.link).finish_non_exhaustive()
    }
}

fn open(name: &str, options: &Options) -> Result<(Capture<Active>, LinkType), DeviceError> {
    let wrong = |what| DeviceError { interface: name.to_owned(), what };
    let number = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
    let gather = u64::try_from(options.gather.as_millis()).unwrap_or(u64::MAX);
    let inactive = Capture::from_device(name).map_err(|e| wrong(what(&e)))?;
    let inactive = inactive
        .snaplen(number(options.snaplen.into()))
        .buffer_size(number(options.buffer))
        .timeout(number(gather.max(1)))
        // All interfaces at once cannot be, and asking for it would be an error.
        .promisc(options.promiscuous && name != ANY)
        // The kernel then has slots of the largest size, of which a ring holds few.
        .immediate_mode(false)
        .precision(Precision::Nano);
    let mut handle = inactive.open().map_err(|e| wrong(what(&e)))?;
    let Linktype(number) = handle.get_datalink();
    let link = u16::try_from(number).map(LinkType).ok().filter(|link| link.is_known());
    let link = link.ok_or_else(|| wrong(DeviceErrorKind::Link(number)))?;
    set_filter(&mut handle, link, options).map_err(wrong)?;
    let handle = handle.setnonblock().map_err(|e| wrong(what(&e)))?;
    Ok((handle, link))
}

fn set_filter(handle: &mut Capture<Active>, link: LinkType, options: &Options) -> Result<(), DeviceErrorKind> {
    let filter = filter_text(options, link);
    handle.filter(&filter, true).map_err(|e| DeviceErrorKind::Filter { filter, reason: words(&e) })
}

fn filter_text(options: &Options, link: LinkType) -> String {
    options.filter.clone().unwrap_or_else(|| filter::mail(&options.ports, link == LinkType::ETHERNET))
}

/// Whether the interface `name` is there and up, and the filter makes sense, without opening it: for the filter it
/// is taken for an Ethernet.
pub(super) fn check(name: &str, options: &Options) -> Result<(), DeviceError> {
    let wrong = |what| DeviceError { interface: name.to_owned(), what };
    let link = if name == ANY { LinkType::LINUX_SLL2 } else { LinkType::ETHERNET };
    if name != ANY {
        let devices = pcap::Device::list().map_err(|e| wrong(what(&e)))?;
        match devices.iter().find(|device| device.name == name) {
            None => return Err(wrong(DeviceErrorKind::Unknown)),
            Some(device) if !device.flags.is_up() => return Err(wrong(DeviceErrorKind::Down)),
            Some(_) => {}
        }
    }
    check_filter(name, link, options)
}

/// Whether the filter makes sense for packets of `link` from the interface `name`.
pub(super) fn check_filter(name: &str, link: LinkType, options: &Options) -> Result<(), DeviceError> {
    let wrong = |what| DeviceError { interface: name.to_owned(), what };
    let text = filter_text(options, link);
    let unopened = Capture::dead(Linktype(link.0.into())).map_err(|e| wrong(what(&e)))?;
    let compiled = unopened.compile(&text, true);
    compiled.map(|_| ()).map_err(|e| wrong(DeviceErrorKind::Filter { filter: text, reason: words(&e) }))
}

fn what(error: &Error) -> DeviceErrorKind {
    let words = words(error);
    match words.to_ascii_lowercase() {
        text if text.contains("no such device") => DeviceErrorKind::Unknown,
        text if text.contains("is not up") => DeviceErrorKind::Down,
        text if text.contains("permi") || text.contains("cap_net_raw") => DeviceErrorKind::Denied,
        _ => DeviceErrorKind::Other(words),
    }
}

/// The text of libpcap.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::PcapError(text) if text.is_empty() => "libpcap gives no reason".into(),
        Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether the interface is there and up.
fn is_up(name: &str) -> bool {
    let up = |device: pcap::Device| device.name == name && device.flags.is_up();
    pcap::Device::list().is_ok_and(|devices| devices.into_iter().any(up))
}

/// Whether it carries network traffic: libpcap also lists buses and logs.
pub(super) fn is_network(name: &str) -> bool {
    !["bluetooth", "nflog", "nfqueue", "usbmon", "dbus"].iter().any(|other| name.starts_with(other))
}
