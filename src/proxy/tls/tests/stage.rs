//! Whole sessions over sockets: a client and a server that follow a script, and what was seen between them.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authority::Authority;
use crate::event::Both;
use crate::event::{Dir, EstablishedTls, Handshake, Protocol, Refusal, TlsFailure, TlsMode};
use crate::proxy::settings::{Target, TlsBounds, TlsListen, TlsSettings, TlsUpstream};
use crate::proxy::tls::bounds::provider;
use crate::proxy::tls::certificates::authorities;
use crate::proxy::tls::{
    Certificates, ClientTls, Dialler, Dialling, Observer, SessionStop, TerminatedClient, Terminator, TlsEnd, terminate,
};

/// What an observer saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) octets: Both<String>,
    pub(super) secured: Vec<(TlsMode, Handshake)>,
    pub(super) sni: String,
    pub(super) fins: Vec<Dir>,
    pub(super) failure: Option<TlsFailure>,
    pub(super) upstream_failure: Option<TlsFailure>,
    /// What the server was told of the client's TLS, at each dial.
    pub(super) told: Vec<Option<ClientTls>>,
}

/// Gives connections to servers that are there already; their number.
struct Servers {
    waiting: VecDeque<TcpStream>,
    told: Vec<Option<ClientTls>>,
    tells_tls: bool,
}

impl Dialler for Servers {
    fn dial<'a>(&'a mut self, tls: Option<&'a ClientTls>) -> Dialling<'a> {
        self.told.push(tls.cloned());
        let next = self.waiting.pop_front().ok_or(Some(Refusal::Refused));
        Box::pin(async move { next })
    }

    fn tells_tls(&self) -> bool {
        self.tells_tls
    }
}

/// TLS as a client that trusts the authority in that file.
fn client_config(authority: &Path) -> Arc<ClientConfig> {
    let roots = Arc::new(authorities(authority).unwrap());
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

impl Observer for Seen {
    fn data(&mut self, dir: Dir, octets: &[u8]) {
        self.octets[dir] += &String::from_utf8_lossy(octets);
    }

    fn tls_established(&mut self, how: &EstablishedTls) {
        self.secured.push((how.mode, how.handshake));
        self.failure = how.failure;
        self.sni = String::from_utf8_lossy(how.sni.as_bytes()).into_owned();
        for dir in Dir::BOTH {
            self.octets[dir] += "<TLS>";
        }
    }

    fn upstream_tls_failed(&mut self, why: TlsFailure) {
        self.upstream_failure = Some(why);
    }

    fn fin(&mut self, dir: Dir) {
        self.fins.push(dir);
    }

    fn poll_stop(&mut self, _: bool, _: &mut Context<'_>) -> Poll<SessionStop> {
        Poll::Pending
    }
}

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// One side of the script.
pub(super) struct Actor {
    pub(super) stream: Option<Box<dyn Duplex>>,
    pub(super) tcp: Option<TcpStream>,
}

impl Actor {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { stream: None, tcp: Some(tcp) }
    }

    pub(super) fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        match (&mut self.stream, &mut self.tcp) {
            (Some(stream), _) => Pin::new(stream),
            (None, Some(tcp)) => Pin::new(tcp),
            (None, None) => panic!("no stream"),
        }
    }

    pub(super) async fn say(&mut self, text: &str) {
        self.stream().write_all(text.as_bytes()).await.unwrap();
        self.stream().flush().await.unwrap();
    }

    /// Reads exactly `text`.
    pub(super) async fn hear(&mut self, text: &str) {
        let mut octets = vec![0; text.len()];
        let read = self.stream().read_exact(&mut octets).await;
        assert_eq!(String::from_utf8_lossy(&octets), text, "{read:?}");
    }

    /// Nothing more comes.
    pub(super) async fn hear_end(&mut self) {
        let mut octets = Vec::new();
        let _ = self.stream().read_to_end(&mut octets).await;
        assert_eq!(String::from_utf8_lossy(&octets), "");
    }

    pub(super) async fn close(&mut self) {
        self.stream().shutdown().await.unwrap();
    }

    /// TLS as a client that wants to see `name`.
    pub(super) async fn connect(&mut self, authority: &Path, name: &'static str) {
        let config = client_config(authority);
        let tcp = self.tcp.take().unwrap();
        let tls = TlsConnector::from(config).connect(ServerName::try_from(name).unwrap(), tcp).await.unwrap();
        self.stream = Some(Box::new(tls));
    }

    /// TLS as a server; whether it came about.
    pub(super) async fn accept(&mut self, files: &(std::path::PathBuf, std::path::PathBuf)) -> bool {
        let config = Arc::new(Certificates::read(std::slice::from_ref(files)).unwrap());
        let config = config.config(&TlsBounds::default(), None).unwrap();
        match TlsAcceptor::from(config).accept(self.tcp.take().unwrap()).await {
            Ok(tls) => self.stream = Some(Box::new(tls)),
            Err(_) => return false,
        }
        true
    }
}

/// A set-up: who vouches, and for whom.
pub(super) struct Stage {
    pub(super) authority: Authority,
    pub(super) files: (std::path::PathBuf, std::path::PathBuf),
    pub(super) server_files: (std::path::PathBuf, std::path::PathBuf),
    pub(super) terminator: Terminator,
}

pub(super) const NAME: &str = "px.example";
pub(super) const SERVER: &str = "mx.example";

pub(super) fn stage(listen: TlsListen, upstream: TlsUpstream, name: Option<&str>) -> Stage {
    let authority = Authority::new();
    let files = authority.files(&[NAME]);
    let server_files = authority.files(&[SERVER, "127.0.0.1"]);
    let tls = TlsSettings { listen, upstream, name: name.map(str::to_owned), ..authority.settings(&files) };
    let target = Target::Host { host: "127.0.0.1".into(), port: 25 };
    let terminator = Terminator::new(&tls, &target).unwrap().unwrap();
    Stage { authority, files, server_files, terminator }
}

/// Plays both scripts at once, with the session between them.
pub(super) async fn play(
    stage: &Stage,
    client: impl AsyncFnOnce(&mut Actor),
    server: impl AsyncFnOnce(&mut Actor),
) -> (TlsEnd, Seen) {
    play_with(stage, false, client, async |[first, _]| server(first).await).await
}

/// The same with a server that takes two connections. `tells_tls`: it is told of the client's TLS.
pub(super) async fn play_with(
    stage: &Stage,
    tells_tls: bool,
    client: impl AsyncFnOnce(&mut Actor),
    server: impl AsyncFnOnce(&mut [Actor; 2]),
) -> (TlsEnd, Seen) {
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (dialled, listener.accept().await.unwrap().0)
    }
    let (client_end, near) = pair().await;
    let [(first, first_end), (second, second_end)] = [pair().await, pair().await];
    let mut seen = Seen::default();
    let mut servers = Servers { waiting: VecDeque::from([first, second]), told: Vec::new(), tells_tls };
    let sides = TerminatedClient {
        client: near,
        early: Vec::new(),
        dialler: &mut servers,
        prior: Protocol::Unknown,
        refusal: b"421 4.3.2 later\r\n",
    };
    let session = terminate(sides, &stage.terminator, &mut seen);
    let client = async { client(&mut Actor::new(client_end)).await };
    let server = async { server(&mut [Actor::new(first_end), Actor::new(second_end)]).await };
    let (ending, (), ()) = tokio::join!(session, client, server);
    seen.told = servers.told;
    (ending, seen)
}

pub(super) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
