//! The listening sockets go from a running process to its successor, so that no connection is refused in between.
//!
//! A successor that finds somebody at the path asks for the sockets (`SCM_RIGHTS`, unix(7)), accepts at them, and reports
//! that; only then does the predecessor stop accepting, and drains. Sessions stay where they are. The socket at the path goes
//! over with the others: a successor that fails to start leaves everything as it was.

use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::task::{JoinError, JoinSet};

use crate::proxy::ListeningSocket;

/// Sockets in one message; the kernel allows 253.
const SOCKETS: usize = 64;

/// Bytes of the list of sockets: some ten thousand of them.
const LIST: usize = 1 << 20;

/// What a successor sends first, and what when it accepts.
const ASK: &[u8; 16] = b"mailtap sockets\n";
const READY: &[u8; 14] = b"mailtap ready\n";

/// Time to ask: who connects does so at once.
const ASK_TIME: Duration = Duration::from_secs(2);

/// Time for one further step: a successor opens its log and looks names up before it accepts.
const STEP_TIME: Duration = Duration::from_secs(60);

/// Peers at the same time.
const PEERS: usize = 16;

/// What goes over.
#[derive(Debug)]
pub(super) struct Estate {
    /// Where mail comes in.
    pub(super) listeners: Vec<ListeningSocket>,
    /// Where metrics are asked for.
    pub(super) metrics: Option<TcpListener>,
    /// Where successors ask.
    pub(super) path: UnixListener,
}

impl Estate {
    /// Its sockets, each with its line in the list.
    fn items(&self) -> impl Iterator<Item = (String, BorrowedFd<'_>)> {
        let listeners = self.listeners.iter().map(|one| {
            let line = match one.passed_as.as_deref() {
                Some(name) => format!("passed {}\n", name.replace('\n', "")),
                None => "listener\n".to_owned(),
            };
            (line, one.socket.as_fd())
        });
        let metrics = self.metrics.iter().map(|socket| ("metrics\n".to_owned(), socket.as_fd()));
        listeners.chain(metrics).chain([("path\n".to_owned(), self.path.as_fd())])
    }

    /// Puts together what came; `None` if it is not what a predecessor sends.
    fn of(list: &str, sockets: Vec<OwnedFd>) -> Option<Self> {
        let (mut listeners, mut metrics, mut path) = (Vec::new(), None, None);
        let mut sockets = sockets.into_iter();
        for line in list.lines() {
            let socket = sockets.next()?;
            match line.split_once(' ').unwrap_or((line, "")) {
                ("listener", _) => listeners.push(ListeningSocket::own(socket.into())),
                ("passed", name) => {
                    listeners.push(ListeningSocket { socket: Arc::new(socket.into()), passed_as: Some(name.into()) });
                }
                ("metrics", _) => metrics = Some(socket.into()),
                ("path", _) => path = Some(socket.into()),
                // Of a later version.
                _ => {}
            }
        }
        Some(Self { listeners, metrics, path: path? })
    }
}

/// A predecessor that has given its sockets, and accepts at them still.
#[derive(Debug)]
pub(super) struct Predecessor(UnixStream);

/// Asks whoever listens at `path` for its sockets; `None` if nobody does.
pub(super) fn ask(path: &Path) -> io::Result<Option<(Estate, Predecessor)>> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(e),
    };
    patient(&stream, STEP_TIME)?;
    stream.write_all(ASK)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LIST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut list = vec![0; length];
    stream.read_exact(&mut list)?;
    let list = String::from_utf8(list).map_err(|_| io::ErrorKind::InvalidData)?;
    let sockets = receive(&stream, list.lines().count())?;
    let estate = Estate::of(&list, sockets).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((estate, Predecessor(stream))))
}

/// Receives `count` sockets.
fn receive(stream: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut mark = [0];
        let read = recvmsg(stream, &mut [IoSliceMut::new(&mut mark)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = sockets.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                sockets.extend(passed);
            }
        }
        if read.bytes == 0 || sockets.len() == before {
            // The other side is gone, or this process has no descriptor left for them.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(sockets)
}

impl Predecessor {
    /// Lets it go.
    pub(super) fn release(mut self) -> io::Result<()> {
        self.0.write_all(READY)
    }
}

/// Listens at `path` for a successor, and nobody but the same user may be one.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = Path::new(&name);
    let _ = fs::remove_file(temporary);
    let listener = UnixListener::bind(temporary)?;
    fs::set_permissions(temporary, Permissions::from_mode(0o600))?;
    fs::rename(temporary, path)?;
    Ok(listener)
}

/// Those who come to the path. Each has a thread of its own while it is waited for, so that who is silent holds up nobody.
#[derive(Debug)]
pub(super) struct Successors {
    listener: Option<tokio::net::UnixListener>,
    steps: JoinSet<io::Result<Step>>,
}

/// How far a peer at the path has come.
#[derive(Debug)]
pub(super) enum Step {
    /// It is no successor.
    Stranger,
    /// It asks for the sockets: [`Successors::give`] them.
    Asks(UnixStream),
    /// It accepts at them.
    Accepts,
}

impl Successors {
    /// Those who come to `listener`; nobody if there is none. Needs a tokio runtime.
    pub(super) fn new(listener: Option<UnixListener>) -> io::Result<Self> {
        let listener = listener.map(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::UnixListener::from_std(listener)
        });
        Ok(Self { listener: listener.transpose()?, steps: JoinSet::new() })
    }

    /// The next step of anybody. May be dropped and called again without a loss.
    pub(super) async fn next(&mut self) -> io::Result<Step> {
        loop {
            let Some(listener) = &self.listener else { return std::future::pending().await };
            tokio::select! {
                Some(done) = self.steps.join_next() => return outcome(done),
                came = listener.accept(), if self.steps.len() < PEERS => {
                    let Ok(stream) = came.and_then(|(stream, _)| stream.into_std()) else {
                        // No descriptor is free: trying at once again would only burn the processor.
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    };
                    self.steps.spawn_blocking(move || Ok(asks(stream).unwrap_or(Step::Stranger)));
                }
            }
        }
    }

    /// Gives the sockets to the successor behind `stream`, and waits in the background until it accepts at them.
    pub(super) fn give(
        &mut self,
        stream: UnixStream,
        listeners: Vec<ListeningSocket>,
        metrics: Option<TcpListener>,
    ) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let path = listener.as_fd().try_clone_to_owned()?.into();
        let estate = Estate { listeners, metrics, path };
        self.steps.spawn_blocking(move || give(stream, estate));
        Ok(())
    }
}

fn outcome(done: Result<io::Result<Step>, JoinError>) -> io::Result<Step> {
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Waits for `stream` to ask.
fn asks(mut stream: UnixStream) -> io::Result<Step> {
    stream.set_nonblocking(false)?;
    patient(&stream, ASK_TIME)?;
    let mut asked = [0; ASK.len()];
    stream.read_exact(&mut asked)?;
    Ok(if &asked == ASK { Step::Asks(stream) } else { Step::Stranger })
}

/// Sends `estate`, and waits until the successor accepts.
fn give(mut stream: UnixStream, estate: Estate) -> io::Result<Step> {
    patient(&stream, STEP_TIME)?;
    let (list, sockets): (String, Vec<_>) = estate.items().unzip();
    let length = u32::try_from(list.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(list.as_bytes())?;
    for batch in sockets.chunks(SOCKETS) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(&stream, &[IoSlice::new(b".")], &mut control, SendFlags::NOSIGNAL)?;
    }
    drop(sockets);
    // Where this process stops accepting meanwhile, they must not stay open here.
    drop(estate);
    let mut ready = [0; READY.len()];
    stream.read_exact(&mut ready)?;
    if &ready == READY { Ok(Step::Accepts) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn patient(stream: &UnixStream, time: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::{Builder, Runtime};

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn own() -> ListeningSocket {
        ListeningSocket::own(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    #[test]
    fn sockets_go_over_with_their_names_and_stay_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover");
        assert!(ask(&path).unwrap().is_none());
        let mut sockets: Vec<_> = (0..70).map(|_| own()).collect();
        sockets[3].passed_as = Some("mx in".into());
        sockets[4].passed_as = Some("".into());
        let metrics = TcpListener::bind("127.0.0.1:0").unwrap();
        let what = |listeners: &[ListeningSocket]| {
            listeners.iter().map(|one| (one.address(), one.passed_as.clone())).collect::<Vec<_>>()
        };
        let (expected, served) = (what(&sockets), metrics.local_addr().unwrap());
        let runtime = runtime();
        let mut successors = {
            let _entered = runtime.enter();
            Successors::new(Some(listen(&path).unwrap())).unwrap()
        };
        let place = path.clone();
        let successor = std::thread::spawn(move || {
            let (estate, predecessor) = ask(&place).unwrap().unwrap();
            predecessor.release().unwrap();
            estate
        });
        runtime.block_on(async {
            let Step::Asks(stream) = successors.next().await.unwrap() else { panic!("a stranger") };
            successors.give(stream, sockets, Some(metrics)).unwrap();
            assert!(matches!(successors.next().await.unwrap(), Step::Accepts));
        });
        drop((successors, runtime));
        let estate = successor.join().unwrap();
        assert_eq!(what(&estate.listeners), expected);
        assert_eq!(estate.metrics.unwrap().local_addr().unwrap(), served);
        std::net::TcpStream::connect(expected[69].0.unwrap()).unwrap();
        // The socket at the path is the same one: the next successor finds somebody there.
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn who_is_silent_or_a_stranger_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover");
        runtime().block_on(async {
            let mut successors = Successors::new(Some(listen(&path).unwrap())).unwrap();
            let silent: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
            let mut stranger = UnixStream::connect(&path).unwrap();
            stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut real = UnixStream::connect(&path).unwrap();
            real.write_all(ASK).unwrap();
            let steps = [successors.next().await.unwrap(), successors.next().await.unwrap()];
            assert!(steps.iter().any(|step| matches!(step, Step::Asks(_))), "{steps:?}");
            assert!(steps.iter().any(|step| matches!(step, Step::Stranger)), "{steps:?}");
            drop(silent);
        });
    }
}
