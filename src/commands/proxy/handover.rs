//! The listening sockets go from a running process to its successor, so that no connection is refused in between.
//!
//! A successor that finds somebody at the path asks for the sockets (`SCM_RIGHTS`, unix(7)), accepts at them, and says
//! so; only then does the predecessor stop accepting, and drains. Sessions stay where they are.

use std::fs::{self, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Sockets in one message; the kernel allows 253.
const SOCKETS: usize = 64;

/// What a successor says first, and what when it accepts.
const ASK: &[u8; 16] = b"mailtap sockets\n";
const READY: &[u8; 14] = b"mailtap ready\n";

/// How long the other side may take for one step.
const PATIENCE: Duration = Duration::from_secs(30);

/// A predecessor that has given its sockets, and accepts at them still.
#[derive(Debug)]
pub(super) struct Predecessor(UnixStream);

/// Asks whoever listens at `path` for its sockets; `None` if nobody does.
pub(super) fn ask(path: &Path) -> io::Result<Option<(Vec<TcpListener>, Predecessor)>> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(e),
    };
    patient(&stream)?;
    stream.write_all(ASK)?;
    let mut sockets = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut more = [0];
        let read = recvmsg(&stream, &mut [IoSliceMut::new(&mut more)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                sockets.extend(passed.map(TcpListener::from));
            }
        }
        match (read.bytes, more) {
            (1, [b'.']) => return Ok(Some((sockets, Predecessor(stream)))),
            (1, _) => {}
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
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
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Gives `sockets` to the successor behind `stream`, and waits until it accepts at them.
pub(super) fn give(mut stream: UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    patient(&stream)?;
    let mut asked = [0; ASK.len()];
    stream.read_exact(&mut asked)?;
    if &asked != ASK {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut batches = sockets.chunks(SOCKETS).peekable();
    while let Some(batch) = batches.next() {
        let more = if batches.peek().is_some() { b"+" } else { b"." };
        let descriptors: Vec<_> = batch.iter().map(|socket| socket.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        sendmsg(&stream, &[IoSlice::new(more)], &mut control, SendFlags::NOSIGNAL)?;
    }
    let mut ready = [0; READY.len()];
    stream.read_exact(&mut ready)?;
    if &ready == READY { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn patient(stream: &UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn sockets_go_over_and_stay_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("handover");
        assert!(ask(&path).unwrap().is_none());
        let listener = listen(&path).unwrap();
        listener.set_nonblocking(false).unwrap();
        let sockets: Vec<_> = (0..70).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
        let old = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            give(stream, &sockets).unwrap();
        });
        let (passed, predecessor) = ask(&path).unwrap().unwrap();
        predecessor.release().unwrap();
        old.join().unwrap();
        assert_eq!(passed.iter().map(|s| s.local_addr().unwrap()).collect::<Vec<_>>(), addresses);
        std::net::TcpStream::connect(addresses[69]).unwrap();
        assert!(ask(&path).unwrap().is_none(), "nobody is left at the path");
    }

    #[test]
    fn a_stranger_gets_nothing() {
        let (mut stranger, stream) = UnixStream::pair().unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(give(stream, &[socket]).is_err());
    }
}
