//! One question to a mock that runs.

use std::error::Error;
use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a person is told.
pub(super) type Problem = Box<dyn Error + Send + Sync>;

/// A mock that may run somewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mock<'a> {
    pub(super) authority: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> Mock<'a> {
    /// The mock at an address such as `http://127.0.0.1:8787`.
    pub(super) fn at(url: &'a Uri) -> Result<Self, Problem> {
        let (Some(authority), Some("http")) = (url.authority(), url.scheme_str()) else {
            return Err("--url must be an address such as http://127.0.0.1:8787".into());
        };
        Ok(Self {
            authority: authority.as_str(),
            host: authority.host().trim_matches(['[', ']']),
            port: authority.port_u16().unwrap_or(80),
        })
    }

    pub(super) fn url(self) -> String {
        format!("http://{}", self.authority)
    }

    /// The body of what it answers with 200.
    pub(super) async fn get(self, path: &str, bytes_max: usize) -> Result<Vec<u8>, Problem> {
        match tokio::time::timeout(ANSWER_TIME_MAX, self.ask(path, bytes_max)).await {
            Ok(answer) => answer,
            Err(_) => Err("it did not answer in time".into()),
        }
    }

    async fn ask(self, path: &str, bytes_max: usize) -> Result<Vec<u8>, Problem> {
        let stream = TcpStream::connect((self.host, self.port)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let request = Request::get(path).header(header::HOST, self.authority);
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answers {}", response.status()).into());
        }
        let body = Limited::new(response.into_body(), bytes_max).collect().await?;
        Ok(body.to_bytes().into())
    }
}

/// Until the mock has answered.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
