//! Messages and descriptors over Unix sockets.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// The longest message we send: a line or a small JSON value.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The most descriptors that go with one message.
pub const MAX_FDS: usize = 4;

/// Two connected sockets that keep the boundaries of messages.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Listens at `name` in the folder `dir`. The folder is named by descriptor, as
/// a socket's path may have 108 bytes only.
pub fn listen(dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let (_held, address) = address(dir, name)?;
    let _ = std::fs::remove_file(dir.join(name));
    let socket = new_socket()?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// Connects to the socket `name` in the folder `dir`.
pub fn connect(dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let (_held, address) = address(dir, name)?;
    let socket = new_socket()?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Takes one waiting connection.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?)
}

fn new_socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn address(dir: &Path, name: &str) -> io::Result<(File, SocketAddrUnix)> {
    let held = File::open(dir)?;
    let path = format!(
        "/proc/self/fd/{}/{name}",
        std::os::fd::AsRawFd::as_raw_fd(&held)
    );
    Ok((held, SocketAddrUnix::new(path)?))
}

/// Sends one message and descriptors with it. EPIPE, not SIGPIPE, if nobody reads.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(
            ancillary.push(SendAncillaryMessage::ScmRights(fds)),
            "at most {MAX_FDS} descriptors"
        );
    }
    loop {
        match rustix::net::sendmsg(
            socket,
            &[IoSlice::new(message)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(drop).map_err(Into::into),
        }
    }
}

/// Waits for one message; an empty one means the other side is gone. One that went before
/// it had read all is told of once, by ECONNRESET (unix(7)); what it had said comes after.
pub fn receive(socket: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    // As much as it has: a process that stays keeps every page that it has touched.
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    let waiting = loop {
        match rustix::net::recv(&socket, &mut [] as &mut [u8], flags) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            result => break result?.1,
        }
    };
    let mut message = vec![0; waiting.min(MAX_MESSAGE)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut message)];
        match rustix::net::recvmsg(
            &socket,
            &mut slices,
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            result => break result?.bytes,
        }
    };
    let mut fds = Vec::new();
    for item in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = item {
            fds.extend(rights);
        }
    }
    message.truncate(received);
    Ok((message, fds))
}

/// Sends to a descriptor known by number only, which may be closed by now: an
/// error is nobody's concern.
pub fn send_raw(fd: i32, slices: &[IoSlice<'_>]) {
    // SAFETY: the number is borrowed for this one call; if it is no socket, or
    // closed, the kernel says so and nothing happens.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut ancillary = SendAncillaryBuffer::default();
    let _ = rustix::net::sendmsg(
        fd,
        slices,
        &mut ancillary,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    );
}
