//! All sockets of both sides under one epoll(7), edge-triggered: no call but those that move octets.
//!
//! While it measures it never sleeps. Otherwise whoever sends to it would pay for waking it, the more often the slower it
//! sends; over a network nobody pays for that.

use std::fmt::Write as _;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::client::{Client, Progress};
use crate::mailbox::Mailbox;
use crate::server::Server;
use crate::watched::{self, Memory};
use crate::{Options, Scenario};

/// Octets read at once.
const BUFFER: usize = 256 << 10;

/// Connections that are being opened at the same time, when many are to stand still.
const OPENING: usize = 64;

/// Wrong replies until it is given up.
const PATIENCE: u64 = 20;

/// Times kept.
const TIMES: usize = 1 << 22;

/// Time without any progress until it is given up.
const STUCK: Duration = Duration::from_secs(10);

/// How long connections stand still before their memory is read: a proxy may give things back after a while.
const STILL: Duration = Duration::from_secs(4);

/// What becomes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    GoOn,
    /// It is closed when all is said.
    Close,
    /// The other side said something wrong.
    Wrong(String),
}

/// Calls `each` with every whole line, without its CRLF, and with what follows it; `each` says how much of that it took.
pub(crate) fn lines(
    partial: &mut Vec<u8>,
    mut octets: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> (Verdict, usize),
) -> (Verdict, usize) {
    let mut count = 0;
    while let Some(end) = memchr::memchr(b'\n', octets) {
        let (mut line, behind) = (&octets[..end], &octets[end + 1..]);
        if !partial.is_empty() {
            partial.extend_from_slice(line);
            line = partial;
        }
        let (verdict, taken) = each(line.strip_suffix(b"\r").unwrap_or(line), behind);
        partial.clear();
        count += 1;
        if verdict != Verdict::GoOn {
            return (verdict, count);
        }
        octets = &behind[taken..];
    }
    partial.extend_from_slice(octets);
    if partial.len() > 4096 {
        return (Verdict::Wrong("a line without end".into()), count);
    }
    (Verdict::GoOn, count)
}

/// What is to be sent: words, a message, more words.
#[derive(Default)]
pub(crate) struct Out {
    before: Vec<u8>,
    message: Option<Rc<[u8]>>,
    behind: Vec<u8>,
    gone: usize,
}

impl Out {
    /// Says `octets` behind all that is waiting.
    pub(crate) fn say(&mut self, octets: &[u8]) {
        let end = if self.message.is_some() { &mut self.behind } else { &mut self.before };
        end.extend_from_slice(octets);
    }

    /// Sends a message behind all that is waiting, which no other message may be.
    pub(crate) fn send(&mut self, message: Rc<[u8]>) {
        assert!(self.message.is_none(), "one message at a time");
        self.message = Some(message);
    }

    /// Writes what the socket takes; whether that was all.
    fn flush(&mut self, mut stream: &TcpStream) -> io::Result<bool> {
        let message = self.message.as_deref().unwrap_or_default();
        let all = self.before.len() + message.len() + self.behind.len();
        while self.gone < all {
            let mut parts = [IoSlice::new(&self.before), IoSlice::new(message), IoSlice::new(&self.behind)];
            let mut parts = parts.as_mut_slice();
            IoSlice::advance_slices(&mut parts, self.gone);
            match stream.write_vectored(parts) {
                Ok(written) => self.gone += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.before.clear();
        self.behind.clear();
        self.message = None;
        self.gone = 0;
        Ok(true)
    }
}

/// A socket and what is spoken over it.
struct Connection {
    stream: TcpStream,
    out: Out,
    role: Role,
    closing: bool,
}

enum Role {
    Server(Server),
    Client(Client),
}

/// Where connections come in.
struct ListeningSocket {
    listener: TcpListener,
    role: fn(&mut Out) -> Server,
}

/// What was counted.
#[derive(Default)]
struct Counts {
    done: u64,
    times: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
    still: usize,
}

/// The span that is measured.
enum Span {
    WarmUp,
    Measured { began: Instant, processor: u64 },
}

/// Both sides.
pub(crate) struct Reactor {
    options: Options,
    mailbox: Mailbox,
    epoll: OwnedFd,
    listeners: Vec<ListeningSocket>,
    places: Vec<(u32, Option<Box<Connection>>)>,
    free: Vec<u32>,
    buffer: Vec<u8>,
    counts: Counts,
    opened: usize,
    opening: usize,
}

impl Reactor {
    /// Listens, and makes messages of `size` octets.
    pub(crate) fn new(options: Options, size: usize) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut listeners = Vec::new();
        let places: [(Option<SocketAddr>, fn(&mut Out) -> Server); 2] =
            [(options.smtp, Server::smtp), (options.imap, Server::imap)];
        for (address, role) in places {
            let Some(address) = address else { continue };
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let data = EventData::new_u64(u64::MAX - listeners.len() as u64);
            epoll::add(&epoll, &listener, data, EventFlags::IN)?;
            listeners.push(ListeningSocket { listener, role });
        }
        Ok(Self {
            mailbox: Mailbox::new(size),
            epoll,
            listeners,
            places: Vec::new(),
            free: Vec::new(),
            buffer: vec![0; BUFFER],
            counts: Counts::default(),
            opened: 0,
            opening: 0,
            options,
        })
    }

    /// Does what was asked for; the report.
    pub(crate) fn run(mut self) -> io::Result<String> {
        if matches!(self.options.scenario, Scenario::Idle | Scenario::Greeting) { self.stand() } else { self.measure() }
    }

    /// Transactions for a time.
    fn measure(&mut self) -> io::Result<String> {
        for _ in 0..self.options.connections {
            self.dial()?;
        }
        let mut span = Span::WarmUp;
        let start = Instant::now();
        let (mut seen, mut progress) = (0, start);
        loop {
            self.turn(Duration::ZERO)?;
            let now = Instant::now();
            if self.counts.done != seen {
                (seen, progress) = (self.counts.done, now);
            }
            if self.counts.errors >= PATIENCE || now - progress > STUCK {
                let why = self.counts.first_error.clone().unwrap_or_else(|| "no transaction ends".into());
                return Err(io::Error::other(why));
            }
            match span {
                Span::WarmUp if now - start >= self.options.warm_up => {
                    self.counts = Counts { errors: self.counts.errors, ..Counts::default() };
                    span = Span::Measured { began: now, processor: watched::processor(&self.options.watch)? };
                    (seen, progress) = (0, now);
                }
                Span::Measured { began, processor }
                    if now - began >= self.options.measured || self.counts.done >= self.options.count =>
                {
                    let spent = watched::processor(&self.options.watch)? - processor;
                    return Ok(self.report(began.elapsed(), spent));
                }
                _ => {}
            }
        }
    }

    fn report(&mut self, took: Duration, processor: u64) -> String {
        let Counts { done, times, errors, .. } = &mut self.counts;
        times.sort_unstable();
        let at = |share: f64| f64::from(*times.get((times.len() as f64 * share) as usize).unwrap_or(&0)) / 1e3;
        let rate = *done as f64 / took.as_secs_f64();
        let mut json = format!(
            r#"{{"transactions":{done},"seconds":{:.3},"per_second":{rate:.1},"p50_us":{:.1},"p99_us":{:.1},"errors":{errors}"#,
            took.as_secs_f64(),
            at(0.5),
            at(0.99),
        );
        if !self.options.watch.is_empty() {
            let each = processor as f64 / 1e3 / (*done).max(1) as f64;
            let _ = write!(json, r#","cpu_us":{each:.3},"cpu_share":{:.3}"#, processor as f64 / took.as_nanos() as f64);
        }
        json.push('}');
        json
    }

    /// Many connections that stand still.
    fn stand(&mut self) -> io::Result<String> {
        let before = watched::memory(&self.options.watch)?;
        let processor = watched::processor(&self.options.watch)?;
        let wanted = self.options.connections;
        let (mut seen, mut progress) = (0, Instant::now());
        let began = progress;
        while self.counts.still < wanted {
            while self.opened < wanted && self.opening < OPENING {
                self.dial()?;
            }
            self.turn(Duration::from_millis(20))?;
            if self.counts.still != seen {
                (seen, progress) = (self.counts.still, Instant::now());
            }
            if self.counts.errors > 0 || progress.elapsed() > STUCK {
                let why = self.counts.first_error.clone().unwrap_or_else(|| format!("only {seen} connections stand"));
                return Err(io::Error::other(why));
            }
        }
        let took = began.elapsed();
        let opening = watched::processor(&self.options.watch)? - processor;
        let rest = Instant::now();
        while rest.elapsed() < STILL {
            self.turn(Duration::from_millis(20))?;
        }
        let after = watched::memory(&self.options.watch)?;
        let each = |part: fn(&Memory) -> u64| (part(&after) as f64 - part(&before) as f64) / wanted as f64;
        Ok(format!(
            r#"{{"connections":{wanted},"seconds":{:.3},"rss_kib":{:.3},"pss_kib":{:.3},"rss_before_kib":{},"open_cpu_us":{:.1},"errors":{}}}"#,
            took.as_secs_f64(),
            each(|memory| memory.rss),
            each(|memory| memory.pss),
            before.rss,
            opening as f64 / 1e3 / wanted as f64,
            self.counts.errors,
        ))
    }

    /// Opens a connection as a client.
    fn dial(&mut self) -> io::Result<()> {
        let address = self.options.connect;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let client = Client::new(self.options.scenario, self.opened);
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        self.opened += 1;
        self.opening += 1;
        self.join(socket.into(), Out::default(), Role::Client(client))
    }

    /// Gives a connection a place.
    fn join(&mut self, stream: TcpStream, out: Out, role: Role) -> io::Result<()> {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() as u32 - 1
        });
        let (generation, place) = &mut self.places[at as usize];
        let data = EventData::new_u64(u64::from(*generation) << 32 | u64::from(at));
        epoll::add(&self.epoll, &stream, data, EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET)?;
        *place = Some(Box::new(Connection { stream, out, role, closing: false }));
        Ok(())
    }

    /// Waits for events, `at_most` so long, and sees to them.
    fn turn(&mut self, at_most: Duration) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(256);
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(at_most.subsec_nanos()) };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for event in events {
            let data = event.data.u64();
            let index = (u64::MAX - data) as usize;
            if index < self.listeners.len() {
                self.accept(index)?;
                continue;
            }
            let (generation, at) = ((data >> 32) as u32, data as u32);
            // An event may be older than who is there now.
            match self.places.get_mut(at as usize) {
                Some((now, place)) if *now == generation => {
                    let Some(connection) = place.take() else { continue };
                    let flags = event.flags;
                    self.serve(at, connection, flags)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        loop {
            let ListeningSocket { listener, role } = &self.listeners[index];
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let mut out = Out::default();
            let server = role(&mut out);
            // A new socket takes a greeting.
            if out.flush(&stream).is_ok() {
                self.join(stream, out, Role::Server(server))?;
            }
        }
    }

    /// Reads and writes what there is.
    fn serve(&mut self, at: u32, mut connection: Box<Connection>, flags: EventFlags) -> io::Result<()> {
        let mut over = false;
        let readable = flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        if flags.contains(EventFlags::OUT) {
            over = match connection.out.flush(&connection.stream) {
                Ok(all) => all && connection.closing,
                Err(error) => self.complain(&connection, &error.to_string()),
            };
        }
        while readable && !over {
            let read = (&connection.stream).read(&mut self.buffer);
            let octets = match read {
                Ok(0) => {
                    over = true;
                    self.ended(&mut connection);
                    break;
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    over = self.complain(&connection, &error.to_string());
                    break;
                }
            };
            over = self.received(&mut connection, octets);
            // A short read has emptied the socket; should its end be there too, an event says so.
            if octets < BUFFER && !flags.intersects(EventFlags::RDHUP | EventFlags::HUP) {
                break;
            }
        }
        if !over {
            self.places[at as usize].1 = Some(connection);
            return Ok(());
        }
        let again = matches!(connection.role, Role::Client(_))
            && matches!(self.options.scenario, Scenario::Smtp | Scenario::SmtpConnect | Scenario::Imap);
        drop(connection);
        let generation = &mut self.places[at as usize].0;
        *generation = (*generation + 1) & 0x7fff_ffff;
        self.free.push(at);
        if again { self.dial() } else { Ok(()) }
    }

    /// Octets came in: whether the connection is over.
    fn received(&mut self, connection: &mut Connection, octets: usize) -> bool {
        let octets = &self.buffer[..octets];
        let (verdict, progress) = match &mut connection.role {
            Role::Server(server) => (server.received(octets, &mut connection.out, &self.mailbox), Progress::None),
            Role::Client(client) => {
                let new = client.is_new();
                let said = client.received(octets, &mut connection.out, &self.mailbox);
                self.opening -= usize::from(new && !client.is_new());
                said
            }
        };
        self.count(&progress);
        if let Verdict::Wrong(why) = &verdict {
            return self.complain(connection, why);
        }
        connection.closing |= verdict == Verdict::Close;
        match connection.out.flush(&connection.stream) {
            Ok(all) => all && connection.closing,
            Err(error) => self.complain(connection, &error.to_string()),
        }
    }

    /// The other side closed.
    fn ended(&mut self, connection: &mut Connection) {
        if let Role::Client(client) = &mut connection.role {
            let (was_to_be, progress) = client.ended();
            self.count(&progress);
            if !was_to_be {
                self.complain(connection, "closed by the server");
            }
        }
    }

    fn count(&mut self, progress: &Progress) {
        match progress {
            Progress::None => {}
            Progress::Still => self.counts.still += 1,
            Progress::Done(began) => {
                self.counts.done += 1;
                if self.counts.times.len() < TIMES {
                    self.counts.times.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
                }
            }
        }
    }

    /// Counts an error. The connection is over.
    fn complain(&mut self, connection: &Connection, why: &str) -> bool {
        let side = if matches!(connection.role, Role::Client(_)) { "client" } else { "server" };
        self.counts.errors += 1;
        self.counts.first_error.get_or_insert_with(|| format!("{side}: {why}"));
        true
    }
}
