//! Answers of HTTP/1.1: the head, and a body by length or in chunks.

/// Header fields of an answer that are read.
const HEADERS_MAX: usize = 64;
/// A body larger than this is taken for nonsense: publishes are answered with a few bytes.
const BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// A whole answer at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Bytes that it takes.
    pub(crate) length: usize,
    /// The connection stays open.
    pub(crate) keeps: bool,
}

/// Reads the answer at the start of `bytes`, its body into `body`; `None` while it is not whole.
pub(crate) fn read(bytes: &[u8], body: &mut Vec<u8>) -> Result<Option<Answer>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let from = match head.parse(bytes) {
        Ok(httparse::Status::Complete(from)) => from,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("not an HTTP answer"),
    };
    let field = |name: &str| {
        let found = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    };
    let status = head.code.unwrap_or(0);
    let keeps = !field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    body.clear();
    let to = if field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        match chunks(bytes, from, body)? {
            Some(to) => to,
            None => return Ok(None),
        }
    } else {
        let length: usize = match field("content-length") {
            Some(length) => length.parse().map_err(|_| "Content-Length that is no number")?,
            None => 0,
        };
        if length > BODY_BYTES_MAX {
            return Err("body of more than 16 MiB");
        }
        let Some(content) = bytes.get(from..from + length) else { return Ok(None) };
        body.extend_from_slice(content);
        from + length
    };
    Ok(Some(Answer { status, length: to, keeps }))
}

/// Where the chunked body that begins at `at` ends.
fn chunks(bytes: &[u8], mut at: usize, body: &mut Vec<u8>) -> Result<Option<usize>, &'static str> {
    loop {
        let (head, size) = match httparse::parse_chunk_size(&bytes[at..]) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("chunk without a size"),
        };
        if size > BODY_BYTES_MAX as u64 || body.len() > BODY_BYTES_MAX {
            return Err("body of more than 16 MiB");
        }
        let (from, to) = (at + head, at + head + size as usize);
        if bytes.len() < to + 2 {
            return Ok(None);
        }
        body.extend_from_slice(&bytes[from..to]);
        at = to + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

/// The value of a header field in the head of an answer, for the upgrade.
pub(crate) fn upgrade(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    match head.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let status = head.code.unwrap_or(0);
            let accepted = head.headers.iter().any(|field| {
                field.name.eq_ignore_ascii_case("sec-websocket-accept")
                    && field.value == crate::app::SOCKET_ACCEPT.as_bytes()
            });
            match (status, accepted) {
                (101, true) => Ok(Some(length)),
                (101, false) => Err("the upgrade was answered with a wrong Sec-WebSocket-Accept".into()),
                _ => Err(format!("the upgrade was answered with status {status}")),
            }
        }
        Err(_) => Err("the upgrade was not answered in HTTP".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_by_length_and_in_chunks() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let chunked = b"HTTP/1.1 401 No\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let mut body = Vec::new();
        let whole = |bytes: &[u8], status, keeps| Answer { status, length: bytes.len(), keeps };
        for (bytes, expected, text) in
            [(&plain[..], whole(plain, 200, true), "{}"), (&chunked[..], whole(chunked, 401, false), "abcde")]
        {
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut], &mut body), Ok(None), "{cut}");
            }
            let mut more = bytes.to_vec();
            more.extend_from_slice(b"HTTP/1.1 200");
            assert_eq!(read(&more, &mut body), Ok(Some(expected)));
            assert_eq!(body, text.as_bytes());
        }
        assert!(read(b"220 mail.example ESMTP\r\n\r\n", &mut body).is_err());
    }

    #[test]
    fn an_upgrade_is_taken_only_with_the_right_accept() {
        let good = format!("HTTP/1.1 101 S\r\nsec-websocket-accept: {}\r\n\r\n", crate::app::SOCKET_ACCEPT);
        assert_eq!(upgrade(good.as_bytes()), Ok(Some(good.len())));
        assert_eq!(upgrade(&good.as_bytes()[..20]), Ok(None));
        assert!(upgrade(good.replace("s3pP", "xxxx").as_bytes()).unwrap_err().contains("Accept"));
        assert!(upgrade(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().contains("404"));
    }
}
