//! Conversations whose answers must not depend on how bytes arrive or are taken. Every path leads to 404.

/// What is received, the statuses that it is answered with, whether the connection ends then, and why.
pub(crate) type WireCase = (&'static str, &'static [u16], bool, &'static str);

/// All of them.
#[rustfmt::skip]
pub(crate) const WIRE_CASES: &[WireCase] = &[
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n",                                   &[404], false, "kept"),
    ("GET / HTTP/1.0\r\n\r\n",                                              &[404], true,  "HTTP/1.0 ends"),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET",            &[404], true,  "and so it does where more comes"),
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",  &[404, 404], false, "pipelined"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[405, 404], false, "a body is passed over"),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[404, 404], false, "chunks too"),
    ("BREW / HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[501, 200], false, "no look-up needed"),
    ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",             &[400], true, "lingers; what follows is dropped"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",          &[413], true, "too long"),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX", &[400], true, "a broken chunk is no request"),
];
