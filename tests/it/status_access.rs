//! Access to the status page: people on this machine, and never the clients of a proxy.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::Uid;
use seccompiler::{SeccompAction, SeccompFilter};

use super::harness::{
    Client, Content, Response, Server, Site, is_installed, is_root, skip, unprivileged, wait_until,
};

/// Debian's accounts: that of nginx, and nobody.
const WWW_DATA: u32 = 33;
const NOBODY: u32 = 65_534;

/// A site with files at the paths of the status page.
fn site() -> Site {
    let site = Site::new();
    site.file("status", "the site's")
        .file("metrics", "the site's");
    site
}

/// Runs a closure as another user: on Linux each thread has its own.
fn as_user<T: Send>(user: u32, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let acting = scope.spawn(|| {
            rustix::thread::set_thread_uid(Uid::from_raw(user)).unwrap();
            act()
        });
        acting.join().unwrap()
    })
}

fn is_page(response: &Response) -> bool {
    assert_eq!(response.status, 200, "{response:?}");
    response.body != b"the site's"
}

/// Sends a head unchanged.
fn send(address: SocketAddr, head: &str) -> Response {
    let mut client = Client::connect(address);
    client.send(head.as_bytes());
    client.response(Content::Expected).unwrap()
}

#[test]
fn people_and_root_see_it_and_services_get_what_the_site_has() {
    if !is_root() {
        return skip("to be another user takes root");
    }
    let site = site();
    let server = Server::start(&site, &[]);
    for (user, want) in [
        (0, true),
        (1, false),
        (WWW_DATA, false),
        (999, false),
        (1_000, true),
        (60_000, true),
        (62_000, false),
        (NOBODY, false),
        (100_000, true),
    ] {
        for path in ["/status", "/metrics"] {
            let mut client = as_user(user, || server.connect());
            // Looked up once per connection.
            for _ in 0..2 {
                assert_eq!(is_page(&client.get(path, &[])), want, "{path} as {user}");
            }
        }
    }
}

/// The server's own user may see it, unless proxies run as that user too.
#[test]
fn the_servers_own_user_sees_it_unless_proxies_run_as_it() {
    if !is_root() {
        return skip("to be another user takes root");
    }
    use std::os::unix::process::CommandExt;
    for (own, want) in [(998, true), (WWW_DATA, false), (NOBODY, false)] {
        let site = site();
        let mut command = unprivileged(&site);
        command.uid(own).args(["--listen", "127.0.0.1:0"]);
        let server = Server::spawn(command.arg(site.root()));
        let mut client = as_user(own, || server.connect());
        assert_eq!(is_page(&client.get("/status", &[])), want, "{own}");
        let mut other = as_user(997, || server.connect());
        assert!(!is_page(&other.get("/status", &[])), "another service");
        assert!(is_page(&server.get("/status")), "root");
    }
}

/// DNS rebinding: the owner of a name can point it here, and make a browser on this machine send requests.
#[test]
fn a_host_that_is_no_literal_loopback_address_never_gets_it() {
    let site = site();
    let server = Server::start(&site, &[]);
    let address = server.address();
    let get = |target: &str, host: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        is_page(&send(address, &head))
    };
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.2:80",
        "[::1]",
    ] {
        assert!(get("/status", host), "{host}");
    }
    for host in [
        "rebind.example",
        "localhost.example",
        "192.0.2.1",
        "[2001:db8::1]:80",
        "0",
    ] {
        assert!(!get("/status", host), "{host}");
        assert!(
            !get(&format!("http://{host}/status"), "localhost"),
            "{host}"
        );
    }
    let without = send(address, "GET /status HTTP/1.0\r\n\r\n");
    assert!(!is_page(&without), "no Host");
    let with = send(address, "GET /status HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(is_page(&with));
}

#[test]
fn what_a_proxy_has_passed_on_never_gets_it() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    for field in [
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 80",
        "Via: 1.1 proxy",
        "via: 1.1 proxy",
        "X-Real-IP: 1.2.3.4",
        "CF-Connecting-IP: 1.2.3.4",
        "True-Client-IP: 1.2.3.4",
    ] {
        for path in ["/status", "/metrics"] {
            assert!(!is_page(&client.get(path, &[field])), "{path} {field}");
        }
    }
    assert!(is_page(&client.get("/status", &[])));
    assert_eq!(client.request("POST", "/status", &[]).status, 405);
}

#[test]
fn a_unix_socket_says_who_is_at_its_other_end() {
    if !is_root() {
        return skip("to be another user takes root");
    }
    let site = site();
    let path = site.beside("socket");
    let server = Server::start(&site, &["--listen", &format!("unix:{}", path.display())]);
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    for path in [site.beside("."), path.clone()] {
        fs::set_permissions(path, Clone::clone(&everybody)).unwrap();
    }
    let ask = |user: u32, host: &str| {
        let mut stream = as_user(user, || UnixStream::connect(&path).unwrap());
        let head = format!("GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        !text.ends_with("the site's")
    };
    assert!(ask(0, "localhost") && ask(1_000, "localhost"));
    assert!(!ask(WWW_DATA, "localhost") && !ask(0, "rebind.example"));
    drop(server);
}

/// A sandbox that refuses sock_diag: the page is shown to nobody, and one line says what to do.
#[test]
fn without_the_owner_of_the_peer_nobody_sees_it() {
    let site = site();
    // As by systemd's `RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX`.
    let family = u64::try_from(libc::AF_NETLINK).unwrap();
    let is_netlink = seccompiler::SeccompCondition::new(
        0,
        seccompiler::SeccompCmpArgLen::Dword,
        seccompiler::SeccompCmpOp::Eq,
        family,
    );
    let rule = seccompiler::SeccompRule::new(vec![is_netlink.unwrap()]).unwrap();
    let rules = BTreeMap::from([(libc::SYS_socket, vec![rule])]);
    let refused = SeccompAction::Errno(u32::try_from(libc::EAFNOSUPPORT).unwrap());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture);
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    let server = std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            seccompiler::apply_filter(&program).unwrap();
            Server::start(&site, &[])
        });
        started.join().unwrap()
    });
    assert!(!is_page(&server.get("/status")));
    let said = server.errors();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("sock_diag"))
        .collect();
    assert!(lines.len() == 1 && lines[0].contains("--status"), "{said}");
}

/// The address of the status page in the start lines.
fn status_address(server: &Server) -> Option<SocketAddr> {
    let prefix = "status page on http://";
    let mut lines = server.lines().iter();
    lines.find_map(|line| line.strip_prefix(prefix)?.parse().ok())
}

#[test]
fn beside_a_site_for_others_it_has_a_listener_of_its_own() {
    let site = site();
    let words = ["--listen", "0.0.0.0:0"];
    // Another process may have the address already.
    let taken = TcpListener::bind("127.0.0.1:8081");
    let server = Server::start(&site, &words);
    assert_eq!(status_address(&server), None);
    let said = server.errors();
    let line = said.lines().find(|line| line.contains("no status page"));
    assert!(
        line.is_some_and(|line| line.contains("127.0.0.1:8081") && line.contains("--status")),
        "{said}"
    );
    assert!(!is_page(&server.get("/status")));
    drop((taken, server));
    let mut own = None;
    wait_until("the address is free", || {
        let server = Server::start(&site, &words);
        own = status_address(&server).map(|address| (server, address));
        own.is_some()
    });
    let (server, address) = own.unwrap();
    assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], 8_081)));
    for path in ["/status", "/metrics"] {
        assert!(!is_page(&server.get(path)), "the site has its own");
        assert!(is_page(&Client::connect(address).get(path, &[])));
    }
    let mut client = Client::connect(address);
    assert_eq!(client.get("/other", &[]).status, 404);
    let rebound = send(
        address,
        "GET /status HTTP/1.1\r\nHost: rebind.example\r\n\r\n",
    );
    assert_eq!(rebound.status, 404);
    if is_root() {
        let mut monitor = as_user(WWW_DATA, || Client::connect(address));
        assert!(is_page(&monitor.get("/metrics", &[])), "whoever reaches it");
    }
    // An explicit setting takes precedence.
    let server = Server::start(&site, &["--listen", "0.0.0.0:0", "--status", "loopback"]);
    assert!(is_page(&server.get("/status")) && status_address(&server).is_none());
}

/// A proxy on this machine, stopped when dropped.
struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Proxy {
    /// Runs a program with a configuration file, which `settings` renders for a listening address.
    fn start(file: &Path, settings: impl Fn(SocketAddr) -> String, program: &mut Command) -> Proxy {
        // Proxies do not report a port chosen by the kernel, so one is chosen before.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        fs::write(file, settings(address)).unwrap();
        let mut child = program
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the proxy listens", || {
            assert!(child.try_wait().unwrap().is_none(), "{program:?} has ended");
            TcpStream::connect(address).is_ok()
        });
        Proxy { child, address }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn assert_nothing_comes_through(proxy: &Proxy) {
    for path in ["/status", "/status?format=json", "/metrics"] {
        for host in ["localhost", "127.0.0.1:8080", "site.example"] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let response = send(proxy.address, &head);
            assert!(!is_page(&response), "{path} of {host}");
        }
    }
}

#[test]
fn nothing_reaches_it_through_a_plain_nginx() {
    if !is_root() || !is_installed("nginx") {
        return skip("nginx as www-data takes root, and nginx (Debian: nginx-light)");
    }
    let site = site();
    let socket = site.beside("socket");
    let server = Server::start(&site, &["--listen", &format!("unix:{}", socket.display())]);
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    for path in [site.beside("."), socket.clone()] {
        fs::set_permissions(path, Clone::clone(&everybody)).unwrap();
    }
    let file = site.beside("nginx.conf");
    for upstream in [
        format!("http://{}", server.address()),
        format!("http://unix:{}:", socket.display()),
    ] {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}; ", site.beside(kind).display()))
            .concat();
        let settings = |address: SocketAddr| {
            format!(
                "user www-data; daemon off; error_log stderr; pid {}; events {{}} http {{ access_log off; {temporary}\
                 server {{ listen {address}; location / {{ proxy_pass {upstream}; }} }} }}",
                site.beside("nginx.pid").display()
            )
        };
        let proxy = Proxy::start(&file, settings, Command::new("nginx").arg("-c").arg(&file));
        assert_nothing_comes_through(&proxy);
    }
    assert!(is_page(&server.get("/status")), "the person at the machine");
}

#[test]
fn nothing_reaches_it_through_a_plain_haproxy() {
    if !is_root() || !is_installed("haproxy") {
        return skip("haproxy as its own user takes root, and haproxy");
    }
    let site = site();
    let server = Server::start(&site, &[]);
    let file = site.beside("haproxy.cfg");
    let settings = |address: SocketAddr| {
        let upstream = server.address();
        format!(
            "global\n user haproxy\n group haproxy\ndefaults\n mode http\n timeout connect 5s\n timeout client 5s\n \
             timeout server 5s\nlisten site\n bind {address}\n server spede {upstream}\n"
        )
    };
    let mut command = Command::new("haproxy");
    let proxy = Proxy::start(&file, settings, command.args(["-db", "-f"]).arg(&file));
    assert_nothing_comes_through(&proxy);
}
