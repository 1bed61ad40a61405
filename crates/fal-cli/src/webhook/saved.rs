//! Saved deliveries: a request as one file, byte for byte behind its head.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The request as a file: request line, headers, an empty line, and the raw body.
pub(crate) fn render(target: &str, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut text = format!("POST {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    text
}

/// Headers and body of such a file. Line ends of the head may be LF alone; the body is what follows the first
/// empty line, whatever it is. `None` without an empty line.
pub(crate) fn parse(file: &Bytes) -> Option<(HeaderMap, Bytes)> {
    let mut at = 0;
    loop {
        let end = at + file[at..].iter().position(|byte| *byte == b'\n')?;
        let line = file[at..end].strip_suffix(b"\r").unwrap_or_else(|| &file[at..end]);
        if line.is_empty() {
            return Some((headers_of(&file[..at]), file.slice(end + 1..)));
        }
        at = end + 1;
    }
}

/// The headers among the lines of a file.
pub(crate) fn headers_of(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_reads_back() {
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_bytes(b"\xc3\xa9").unwrap());
        headers.append("x-b", HeaderValue::from_static("1: 2"));
        headers.append("x-b", HeaderValue::from_static("3"));
        let body = b"\r\n\r\n{\"a\": \xff}\n";
        let file = Bytes::from(render("/hook?x=1", &headers, body));
        assert_eq!(parse(&file), Some((headers, Bytes::from_static(body))));
    }

    #[test]
    fn heads_by_hand_are_read() {
        let (headers, body) = parse(&Bytes::from_static(b"X-A:1\n\nbody\n")).unwrap();
        assert_eq!((&headers["x-a"], &body[..]), (&HeaderValue::from_static("1"), &b"body\n"[..]));
        assert_eq!(parse(&Bytes::from_static(b"X-A: 1\r\nno end")), None);
        assert_eq!(parse(&Bytes::from_static(b"\n")).unwrap().1, Bytes::new());
    }

    proptest! {
        #[test]
        fn any_body_reads_back(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let file = Bytes::from(render("/", &HeaderMap::new(), &body));
            prop_assert_eq!(parse(&file).unwrap().1, body);
        }

        #[test]
        fn any_file_is_read_or_not(file in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&Bytes::from(file));
        }
    }
}
