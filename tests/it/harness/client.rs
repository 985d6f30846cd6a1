//! A client: sends bytes, and parses responses.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;

use socket2::{Domain, Socket, Type};

use super::PATIENCE;

/// A response as it was received.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, values.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(other, _)| other == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice in {self:?}");
        value
    }
}

/// The content seen with each entity tag.
#[derive(Default)]
pub struct Tags(Mutex<HashMap<String, Vec<u8>>>);

impl Tags {
    /// Checks a response: its tag is strong, and was never seen with other content.
    pub fn see(&self, response: &Response) {
        let tag = response.field("etag");
        let tag = tag.unwrap_or_else(|| panic!("no tag: {response:?}"));
        assert!(tag.starts_with('"'), "{tag} is weak");
        let mut seen = self.0.lock().unwrap();
        let body = seen
            .entry(tag.to_owned())
            .or_insert_with(|| response.body.clone());
        assert_eq!(*body, response.body, "{tag} is that of two contents");
    }
}

/// Whether a response to a request has content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// As for GET.
    Expected,
    /// As for HEAD.
    None,
}

/// A client.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).unwrap())
    }

    /// Connects from one of the addresses of the loopback interface.
    pub fn connect_from(source: [u8; 4], address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Client::over(TcpStream::from(socket))
    }

    /// Connects with a short receive buffer. Made short later it would drop what is under way to it.
    pub fn connect_with_buffer(length: usize, address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(length).unwrap();
        socket.connect(&address.into()).unwrap();
        Client::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes; ignores that the server has closed.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Shuts down the sending direction.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a GET and returns the response.
    pub fn get(&mut self, path: &str, fields: &[&str]) -> Response {
        self.request("GET", path, fields)
    }

    /// Sends a request without a body and returns the response.
    pub fn request(&mut self, method: &str, path: &str, fields: &[&str]) -> Response {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        self.send(text.as_bytes());
        let content = if method == "HEAD" {
            Content::None
        } else {
            Content::Expected
        };
        self.response(content)
            .unwrap_or_else(|| panic!("{method} {path}: no response"))
    }

    /// Reads the next response; `None` if the connection ends before it is complete.
    pub fn response(&mut self, content: Content) -> Option<Response> {
        let head_end = loop {
            let end = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.receive()?,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..head_end]).into_owned();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
        let status: u16 = status_line[9..12].parse().unwrap();
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        self.received.drain(..head_end);
        let mut response = Response {
            status,
            fields,
            body: Vec::new(),
        };
        let empty = content == Content::None || status == 304 || status < 200;
        let length = match response.field("content-length") {
            Some(length) if !empty => length.parse().unwrap(),
            _ => 0,
        };
        while self.received.len() < length {
            self.receive()?;
        }
        response.body = self.received.drain(..length).collect();
        Some(response)
    }

    /// The content of a response whose first bytes were read already.
    pub fn response_after(&mut self, first: &[u8], length: usize) -> Vec<u8> {
        let head = first.windows(4).position(|window| window == b"\r\n\r\n");
        let mut body = first[head.unwrap() + 4..].to_vec();
        while body.len() < length {
            self.receive().unwrap();
            body.append(&mut self.received);
        }
        body
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive().is_some() {}
        std::mem::take(&mut self.received)
    }

    /// Whether the server closes without sending more.
    pub fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.receive().is_none()
    }

    fn receive(&mut self) -> Option<()> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Some(())
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            // EINTR: a process that was stopped and continued gets it from a read with a time-out.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(()),
            Err(error) => panic!("nothing came in time: {error}"),
        }
    }
}
