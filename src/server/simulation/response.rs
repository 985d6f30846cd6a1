//! Responses as a client reads them.

/// A whole response.
#[derive(Debug)]
pub(super) struct Response {
    /// The status code.
    pub status: u16,
    /// The fields, names in lower case.
    fields: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
}

/// Whether content follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// As the head says.
    AsSaid,
    /// Never.
    None,
}

impl Response {
    /// Takes the first response out of the received bytes.
    ///
    /// # Errors
    /// It is not complete: how many bytes have to be received at least.
    pub(super) fn take(received: &mut Vec<u8>, body: Body) -> Result<Response, usize> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let parsed = head.parse(received).expect("a response that can be parsed");
        let httparse::Status::Complete(length) = parsed else {
            return Err(received.len() + 1);
        };
        let mut response = Response {
            status: head.code.expect("a status"),
            fields: head
                .headers
                .iter()
                .map(|field| {
                    let value = String::from_utf8_lossy(field.value).into_owned();
                    (field.name.to_ascii_lowercase(), value)
                })
                .collect(),
            body: Vec::new(),
        };
        let has_body = body == Body::AsSaid && response.status != 304;
        let end = length + if has_body { response.length() } else { 0 };
        if received.len() < end {
            return Err(end);
        }
        response.body = received[length..end].to_vec();
        received.drain(..end);
        Ok(response)
    }

    /// A field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The length that it announces.
    pub(super) fn length(&self) -> usize {
        let length = self.field("content-length").expect("a length is announced");
        length.parse().expect("a number")
    }

    /// Of a 206: its first byte and the length of the whole.
    pub(super) fn range(&self) -> (usize, usize) {
        let range = self.field("content-range").expect("a range");
        let (range, whole) = range["bytes ".len()..].split_once('/').expect("a length");
        let (first, _) = range.split_once('-').expect("two ends");
        (
            first.parse().expect("a number"),
            whole.parse().expect("a number"),
        )
    }
}
