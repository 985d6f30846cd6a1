//! Listening sockets: binding them, and taking connections from them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::net::SocketFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::connections::{Flow, Role};
use super::settings::{ListenAddress, SocketAccess};
use super::unix_socket::{self, ListenError, OwnPath};
use crate::conn::Peer;
use crate::sys::socket::{defer_accept, limit_unsent};

/// Connections that the kernel completes while the loop is busy; `net.core.somaxconn` may be less.
const BACKLOG: i32 = 4_096;

/// Who opened a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This process: with it the connections are gone that wait there.
    Bound,
    /// A service manager, which may hold it as well (`sd_listen_fds(3)`).
    Inherited,
}

/// A socket that takes connections.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    /// Where its connections come from: `AF_UNIX` ones have no address.
    family: Family,
    /// Who opened it.
    pub origin: Origin,
    /// Names it in events.
    pub index: usize,
    name: String,
    /// Where it was made, if it has a path.
    own_path: Option<OwnPath>,
    /// What its connections may ask for.
    pub role: Role,
    /// Whether connections may be waiting.
    pub input: Flow,
}

/// How long a connection without a byte is left to the kernel. Browsers connect in advance, and nothing is
/// to be done for such a connection; of those with a request the loop hears once instead of twice.
pub(super) const ACCEPT_DEFERRED_SECONDS: i32 = 1;

/// Bytes that a connection may have in the kernel without being under way. More would only lie there, and be
/// out of the processor's caches by the time it goes: docs/design.md has what that costs. Fewer, and an answer of 128 KiB
/// would no longer go out at once.
const UNSENT_LENGTH_MAX: i32 = 64 * 1024;

/// What kind of peers a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Tcp,
    Unix,
}

impl Listener {
    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// Those of `fcntl(2)`, `setsockopt(2)` and `getsockname(2)`.
    pub(super) fn inherit(socket: OwnedFd) -> io::Result<Listener> {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (family, name) = match address.as_socket() {
            Some(address) => {
                socket.set_tcp_nodelay(true)?;
                limit_unsent(socket.as_fd(), UNSENT_LENGTH_MAX)?;
                defer_accept(socket.as_fd(), ACCEPT_DEFERRED_SECONDS)?;
                (Family::Tcp, format!("http://{address}"))
            }
            None => {
                let path = address
                    .as_pathname()
                    .unwrap_or(Path::new("(without a name)"));
                (Family::Unix, format!("unix:{}", path.display()))
            }
        };
        Ok(Listener {
            socket,
            family,
            origin: Origin::Inherited,
            index: 0,
            name,
            own_path: None,
            role: Role::Site,
            input: Flow::Ready,
        })
    }

    /// Binds an address and listens on it.
    ///
    /// # Errors
    /// Those of `bind(2)`: EADDRINUSE, EACCES below port 1024, EADDRNOTAVAIL; [`ListenError`].
    pub(super) fn bind(
        address: &ListenAddress,
        access: &SocketAccess,
        role: Role,
    ) -> Result<Listener, ListenError> {
        match address {
            ListenAddress::Tcp(address) => Ok(Listener::bind_tcp(*address, role)?),
            ListenAddress::Unix(path) => Listener::bind_unix(path, access, role),
        }
    }

    fn bind_tcp(address: SocketAddr, role: Role) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `[::]` takes IPv4 too, whatever `net.ipv6.bindv6only` says.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // Accepted sockets inherit it: no call for it on each connection.
        socket.set_tcp_nodelay(true)?;
        limit_unsent(socket.as_fd(), UNSENT_LENGTH_MAX)?;
        defer_accept(socket.as_fd(), ACCEPT_DEFERRED_SECONDS)?;
        socket.bind(&SockAddr::from(address))?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        let name = format!("http://{bound}");
        Ok(Listener {
            socket,
            family: Family::Tcp,
            origin: Origin::Bound,
            index: 0,
            name,
            own_path: None,
            role,
            input: Flow::Ready,
        })
    }

    fn bind_unix(path: &Path, access: &SocketAccess, role: Role) -> Result<Listener, ListenError> {
        let (socket, own_path) = unix_socket::bind(path, access)?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        let name = format!("unix:{}", path.display());
        Ok(Listener {
            socket,
            family: Family::Unix,
            origin: Origin::Bound,
            index: 0,
            name,
            own_path: Some(own_path),
            role,
            input: Flow::Ready,
        })
    }

    /// Takes one connection that waits.
    ///
    /// # Errors
    /// Those of `accept(2)`: `WouldBlock` when nobody waits.
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if self.family == Family::Unix {
            return Ok((rustix::net::accept_with(&self.socket, flags)?, Peer::Local));
        }
        let (socket, address) = rustix::net::acceptfrom_with(&self.socket, flags)?;
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        let peer = address.map_or(Peer::Local, |address| Peer::Address(address.ip()));
        Ok((socket, peer))
    }

    /// What people call it: a URL, or `unix:` and a path.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// For registering it.
    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(own_path) = &self.own_path {
            own_path.unlink();
        }
    }
}
