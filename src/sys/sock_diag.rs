//! Whose socket is at the other end of a connection within this machine: `sock_diag(7)` for TCP,
//! `SO_PEERCRED` (`unix(7)`) for Unix sockets.
//!
//! The kernel answers within the call that asks, so nothing is waited for but, at worst, a lock that
//! another reader of socket tables holds for the time of one page of its answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// A user's number, as this process sees it: users that its user namespace does not have are 65534.
pub(crate) type UserId = u32;

/// `struct nlmsghdr` (netlink(7)).
const HEADER_LENGTH: usize = 16;
/// `struct inet_diag_req_v2`.
const QUESTION_LENGTH: usize = 56;
/// `struct inet_diag_msg`.
const ANSWER_LENGTH: usize = 72;
/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// Messages looked at for one answer: an older one may stand before it.
const MESSAGE_COUNT_MAX: usize = 4;

/// States in which a socket still belongs to whoever opened it: ESTABLISHED, FIN_WAIT1, FIN_WAIT2 and
/// CLOSE_WAIT of net/tcp_states.h. In the others the kernel says 0, the number of root, for want of an owner.
const STATES_OWNED: [u8; 4] = [1, 4, 5, 8];

/// A netlink socket to ask with.
#[derive(Debug)]
pub(crate) struct SocketOwners {
    socket: OwnedFd,
    sequence: u32,
}

impl SocketOwners {
    /// Opens the socket and asks for a connection of our own whose owner is known. May wait while the kernel
    /// loads a module: to be called at the start, and not again where it fails.
    ///
    /// # Errors
    /// What the kernel or a sandbox says; `InvalidData` where its answer is wrong.
    pub(crate) fn open() -> io::Result<SocketOwners> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            flags,
            Some(SOCK_DIAG),
        )?;
        let mut owners = SocketOwners {
            socket,
            sequence: 0,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let owner = owners.owner(client.local_addr()?, client.peer_addr()?)?;
        match owner == Some(rustix::process::geteuid().as_raw()) {
            true => Ok(owners),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The user at the other end of a TCP connection, if that end is a socket of this machine and network
    /// namespace that is still open.
    ///
    /// # Errors
    /// Those of `getsockname(2)`, `getpeername(2)` and netlink.
    pub(crate) fn peer(&mut self, socket: BorrowedFd<'_>) -> io::Result<Option<UserId>> {
        let not_tcp = || io::Error::from(io::ErrorKind::InvalidInput);
        let ours = rustix::net::getsockname(socket)?;
        let theirs = rustix::net::getpeername(socket)?.ok_or_else(not_tcp)?;
        let ours = SocketAddr::try_from(ours).map_err(|_| not_tcp())?;
        let theirs = SocketAddr::try_from(theirs).map_err(|_| not_tcp())?;
        self.owner(theirs, ours)
    }

    /// The owner of the TCP socket that is bound to `local` and connected to `remote`.
    fn owner(&mut self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<UserId>> {
        self.sequence = self.sequence.wrapping_add(1);
        let (local, remote) = (canonical(local), canonical(remote));
        let question = question(self.sequence, local, remote);
        rustix::net::send(self.socket.as_fd(), &question, SendFlags::empty())?;
        for _ in 0..MESSAGE_COUNT_MAX {
            let mut message = [0; 512];
            let (count, _) = rustix::net::recv(&self.socket, &mut message, RecvFlags::DONTWAIT)?;
            if let Some(answer) = answer(&message[..count], self.sequence) {
                let is_theirs = |socket: &Socket| (socket.local, socket.remote) == (local, remote);
                return answer.map(|found| found.filter(is_theirs).map(|socket| socket.owner));
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// The user at the other end of a Unix socket, when it connected.
///
/// # Errors
/// Those of `getsockopt(2)`.
pub(crate) fn unix_peer(socket: BorrowedFd<'_>) -> io::Result<UserId> {
    Ok(rustix::net::sockopt::socket_peercred(socket)?.uid.as_raw())
}

/// A TCP socket that somebody owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    owner: UserId,
}

/// IPv4 addresses as such: the kernel keeps connections between them in one table, whatever the family of the
/// socket.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: one socket by its four names, no dump.
fn question(
    sequence: u32,
    local: SocketAddr,
    remote: SocketAddr,
) -> [u8; HEADER_LENGTH + QUESTION_LENGTH] {
    const REQUEST: u16 = 1;
    let mut bytes = [0; HEADER_LENGTH + QUESTION_LENGTH];
    let mut at = 0;
    let mut put = |part: &[u8]| {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    };
    // Both lengths together are 72.
    put(&72_u32.to_ne_bytes());
    put(&BY_FAMILY.to_ne_bytes());
    put(&REQUEST.to_ne_bytes());
    put(&sequence.to_ne_bytes());
    put(&0_u32.to_ne_bytes());
    let family = match local {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // Both constants fit into a byte: 2 and 10, and 6.
    put(&family.to_ne_bytes()[LOW_BYTE..=LOW_BYTE]);
    put(&libc::IPPROTO_TCP.to_ne_bytes()[LOW_BYTE..=LOW_BYTE]);
    put(&[0, 0]);
    put(&u32::MAX.to_ne_bytes());
    put(&local.port().to_be_bytes());
    put(&remote.port().to_be_bytes());
    put(&octets(local.ip()));
    put(&octets(remote.ip()));
    // No interface, and no cookie (`INET_DIAG_NOCOOKIE`).
    put(&0_u32.to_ne_bytes());
    put(&u64::MAX.to_ne_bytes());
    bytes
}

/// Where the low byte of an int lies.
const LOW_BYTE: usize = if cfg!(target_endian = "little") { 0 } else { 3 };

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// What a message says: the socket, that there is none, or what went wrong. `None` where it answers
/// another question.
fn answer(message: &[u8], sequence: u32) -> Option<io::Result<Option<Socket>>> {
    let word = |at: usize| Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?));
    if word(8)? != sequence {
        return None;
    }
    let kind = u16::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    if i32::from(kind) == libc::NLMSG_ERROR {
        let code = word(HEADER_LENGTH)?.cast_signed();
        let error = io::Error::from_raw_os_error(code.saturating_neg());
        return Some(match error.raw_os_error() {
            Some(libc::ENOENT) => Ok(None),
            _ => Err(error),
        });
    }
    if kind != BY_FAMILY || message.len() < HEADER_LENGTH + ANSWER_LENGTH {
        return Some(Err(io::ErrorKind::InvalidData.into()));
    }
    Some(Ok(socket(&message[HEADER_LENGTH..])))
}

/// Reads `struct inet_diag_msg`; `None` for a socket without an owner: one that was closed, or one that the
/// kernel keeps for what may still arrive.
fn socket(message: &[u8]) -> Option<Socket> {
    let word = |at: usize| Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?));
    let port = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
    let [family, state] = *message.first_chunk()?;
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = *message.get(at..)?.first_chunk()?;
        match i32::from(family) {
            libc::AF_INET => Some(Ipv4Addr::from(*octets.first_chunk()?).into()),
            libc::AF_INET6 => Some(Ipv6Addr::from(octets).to_canonical()),
            _ => None,
        }
    };
    let inode = word(68)?;
    let found = Socket {
        local: SocketAddr::new(address(8)?, port(4)?),
        remote: SocketAddr::new(address(24)?, port(6)?),
        owner: word(64)?,
    };
    (STATES_OWNED.contains(&state) && inode != 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn own() -> UserId {
        rustix::process::geteuid().as_raw()
    }

    /// IPv4, IPv6, and IPv4 through a socket for both.
    #[test]
    fn the_owner_at_the_other_end_is_found() {
        let mut owners = SocketOwners::open().expect("sock_diag works here");
        for (listen, connect) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("127.0.0.1:0", "::ffff:127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
            ("[::]:0", "::ffff:127.0.0.1"),
        ] {
            let listener = TcpListener::bind(listen).expect("it listens");
            let port = listener.local_addr().expect("an address").port();
            let address: IpAddr = connect.parse().expect("an address");
            let client = TcpStream::connect((address, port)).expect("it connects");
            let (accepted, _) = listener.accept().expect("it accepts");
            let owner = owners.peer(accepted.as_fd()).expect("an answer");
            assert_eq!(owner, Some(own()), "{listen} from {connect}");
            drop(client);
        }
    }

    /// The kernel says 0 for a socket that nobody owns, and 0 is root.
    #[test]
    fn a_socket_that_was_closed_belongs_to_nobody() {
        let mut owners = SocketOwners::open().expect("sock_diag works here");
        let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("it connects");
        let (accepted, _) = listener.accept().expect("it accepts");
        drop(client);
        let owner = owners.peer(accepted.as_fd()).expect("an answer");
        assert_eq!(owner, None);
    }

    #[test]
    fn nobody_is_at_the_end_of_a_connection_that_is_not_there() {
        let mut owners = SocketOwners::open().expect("sock_diag works here");
        let nowhere: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let owner = owners.owner(nowhere, nowhere).expect("an answer");
        assert_eq!(owner, None);
    }

    #[test]
    fn the_owner_at_the_other_end_of_a_unix_socket_is_found() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        assert_eq!(unix_peer(one.as_fd()).expect("an answer"), own());
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
            sequence in 0..2_u32,
        ) {
            let _ = answer(&bytes, sequence);
        }
    }
}
