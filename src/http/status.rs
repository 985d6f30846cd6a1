//! Status codes that this server sends, and why a request is refused. RFC 9110 §15.

/// A status code with its reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Status {
    /// 100, an interim answer: send the body.
    Continue = 100,
    /// 200.
    Ok = 200,
    /// 204: allowed, and no content.
    NoContent = 204,
    /// 206: some of the representation.
    PartialContent = 206,
    /// 301: a directory asked for without its slash, or a rule.
    MovedPermanently = 301,
    /// 302: a rule.
    Found = 302,
    /// 304: the copy that the client has is good.
    NotModified = 304,
    /// 307: a rule.
    TemporaryRedirect = 307,
    /// 308: a rule.
    PermanentRedirect = 308,
    /// 400: not HTTP, or not understood in one way only.
    BadRequest = 400,
    /// 401: a guarded path, without a name and a password that are admitted.
    Unauthorized = 401,
    /// 403: the file is there and may not be read.
    Forbidden = 403,
    /// 404: nothing here, or nothing that may be seen.
    NotFound = 404,
    /// 405: a method that is known and not for files.
    MethodNotAllowed = 405,
    /// 408: the request did not arrive in time.
    RequestTimeout = 408,
    /// 412: a precondition is false.
    PreconditionFailed = 412,
    /// 413: a body longer than the limit.
    ContentTooLarge = 413,
    /// 414: a target longer than the limit.
    UriTooLong = 414,
    /// 416: no byte of the range is there.
    RangeNotSatisfiable = 416,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed = 417,
    /// 421: a resource that is not served on this connection.
    MisdirectedRequest = 421,
    /// 429: too many wrong passwords (RFC 6585 §4).
    TooManyRequests = 429,
    /// 431: a head longer than the limit, or too many fields.
    HeaderFieldsTooLarge = 431,
    /// 500: the disk failed.
    InternalServerError = 500,
    /// 501: a method or a transfer coding that is not known.
    NotImplemented = 501,
    /// 503: out of descriptors or of room for disk jobs; try again.
    ServiceUnavailable = 503,
    /// 504: the disk did not answer in time.
    GatewayTimeout = 504,
    /// 505: not HTTP/1.0 or HTTP/1.1.
    VersionNotSupported = 505,
}

impl Status {
    /// The three digits.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The first digit, 1 to 5.
    pub fn class(self) -> usize {
        usize::from(self.code() / 100)
    }

    /// The three digits and the reason phrase of RFC 9110 and RFC 6585.
    pub fn text(self) -> &'static str {
        match self {
            Status::Continue => "100 Continue",
            Status::Ok => "200 OK",
            Status::NoContent => "204 No Content",
            Status::PartialContent => "206 Partial Content",
            Status::MovedPermanently => "301 Moved Permanently",
            Status::Found => "302 Found",
            Status::NotModified => "304 Not Modified",
            Status::TemporaryRedirect => "307 Temporary Redirect",
            Status::PermanentRedirect => "308 Permanent Redirect",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::PreconditionFailed => "412 Precondition Failed",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Status::ExpectationFailed => "417 Expectation Failed",
            Status::MisdirectedRequest => "421 Misdirected Request",
            Status::TooManyRequests => "429 Too Many Requests",
            Status::HeaderFieldsTooLarge => "431 Request Header Fields Too Large",
            Status::InternalServerError => "500 Internal Server Error",
            Status::NotImplemented => "501 Not Implemented",
            Status::ServiceUnavailable => "503 Service Unavailable",
            Status::GatewayTimeout => "504 Gateway Timeout",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// Why a message cannot be answered as what it asks for. After each of these the place where the
/// next request starts is unknown or not worth finding, so the connection ends with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request line is not `method SP target SP version CRLF`.
    #[error("the request line is malformed")]
    RequestLine,
    /// A field line is not `name: value CRLF`; this includes obs-fold, NUL, bare CR and bare LF.
    #[error("a header field line is malformed")]
    FieldLine,
    /// The target has none of the four forms, or bytes that no form allows.
    #[error("the request target is malformed")]
    Target,
    /// Host is missing, repeated or not a host.
    #[error("the Host field is missing, repeated or invalid")]
    Host,
    /// Content-Length and Transfer-Encoding do not say in one way only how long the body is.
    #[error("the length of the body is not clear")]
    Framing,
    /// The chunked coding of the body is broken.
    #[error("the chunked coding of the body is malformed")]
    Chunk,
    /// A body longer than the limit.
    #[error("the body is longer than this server takes")]
    BodyTooLarge,
    /// A target longer than the limit.
    #[error("the request target is longer than this server takes")]
    TargetTooLong,
    /// A head longer than the limit, or more fields than the limit.
    #[error("the header fields are more than this server takes")]
    HeadTooLarge,
    /// A transfer coding other than `chunked`.
    #[error("the transfer coding is not known here")]
    TransferCoding,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("only HTTP/1.1 and HTTP/1.0 are spoken here")]
    Version,
    /// An expectation other than `100-continue`.
    #[error("the expectation cannot be met")]
    Expectation,
    /// An `https` resource, which is for secured connections only (RFC 9110 §7.4).
    #[error("https resources are not served on a connection without TLS")]
    Unsecured,
    /// The head or the body did not arrive within its time.
    #[error("the request did not arrive in time")]
    TimedOut,
}

impl Refusal {
    /// The status that says it.
    pub fn status(self) -> Status {
        match self {
            Refusal::RequestLine
            | Refusal::FieldLine
            | Refusal::Target
            | Refusal::Host
            | Refusal::Framing
            | Refusal::Chunk => Status::BadRequest,
            Refusal::BodyTooLarge => Status::ContentTooLarge,
            Refusal::TargetTooLong => Status::UriTooLong,
            Refusal::HeadTooLarge => Status::HeaderFieldsTooLarge,
            Refusal::TransferCoding => Status::NotImplemented,
            Refusal::Version => Status::VersionNotSupported,
            Refusal::Expectation => Status::ExpectationFailed,
            Refusal::Unsecured => Status::MisdirectedRequest,
            Refusal::TimedOut => Status::RequestTimeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_with_its_own_number() {
        for status in [
            Status::Continue,
            Status::Ok,
            Status::NoContent,
            Status::PartialContent,
            Status::MovedPermanently,
            Status::Found,
            Status::NotModified,
            Status::TemporaryRedirect,
            Status::PermanentRedirect,
            Status::BadRequest,
            Status::Unauthorized,
            Status::Forbidden,
            Status::NotFound,
            Status::MethodNotAllowed,
            Status::RequestTimeout,
            Status::PreconditionFailed,
            Status::ContentTooLarge,
            Status::UriTooLong,
            Status::RangeNotSatisfiable,
            Status::ExpectationFailed,
            Status::MisdirectedRequest,
            Status::TooManyRequests,
            Status::HeaderFieldsTooLarge,
            Status::InternalServerError,
            Status::NotImplemented,
            Status::ServiceUnavailable,
            Status::GatewayTimeout,
            Status::VersionNotSupported,
        ] {
            let number = status.code().to_string();
            assert!(
                status.text().starts_with(&format!("{number} ")),
                "{status:?}"
            );
        }
    }
}
