//! One connection, written and read as bare bytes.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::Error;

pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        // Streams have little to read, and there are many of them.
        Ok(Self(BufReader::with_capacity(1024, stream)))
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        self.send("GET", path, "").await?;
        self.answer(path).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Result<Vec<u8>, Error> {
        self.send("POST", path, body).await?;
        self.answer(path).await
    }

    /// Submits a job; its id.
    pub(crate) async fn submit(&mut self, endpoint: &str, input: &str) -> Result<String, Error> {
        let body = self.post(&format!("/queue.fal.run/{endpoint}"), input).await?;
        let submitted: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(submitted["request_id"].as_str().ok_or("a submit is answered with an id")?.to_owned())
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &str) -> Result<(), Error> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Key a:b\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(self.0.write_all(request.as_bytes()).await?)
    }

    /// Reads up to a text and past it.
    pub(crate) async fn until(&mut self, text: &str) -> Result<(), Error> {
        let mut line = String::new();
        let mut seen = String::new();
        while !seen.contains(text) {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                return Err("the stream ended".into());
            }
            seen.push_str(&line);
        }
        Ok(())
    }

    async fn answer(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        let (mut status, mut length, mut line) = (0_u16, 0, String::with_capacity(128));
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                return Err("the connection was closed".into());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest.get(..3).ok_or("a status line has a status")?.parse()?;
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        match status {
            200..=299 => Ok(body),
            _ => {
                let body = String::from_utf8_lossy(&body);
                Err(format!("{path} was answered {status}: {body}").into())
            }
        }
    }
}
