//! A service that does what no mock should: it holds, closes, or answers with fixed words.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What becomes of a request.
pub(crate) enum Reply {
    Json(u16, String),
    /// No answer, ever.
    Hold,
    /// The connection ends without an answer.
    Close,
}

/// Starts one; it lasts as long as the process. `answer` gets its address and the request line.
pub(crate) fn start(answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let base = url.clone();
    let answer = Arc::new(move |request: &str| answer(&base, request));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream, &*answer));
        }
    });
    url
}

fn serve(stream: TcpStream, answer: &dyn Fn(&str) -> Reply) {
    let mut writer = stream.try_clone().expect("a socket");
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).expect("the whole body");
        match answer(request.trim_end()) {
            Reply::Json(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Words\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\n\r\n",
                    body.len()
                );
                if writer.write_all((head + &body).as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Hold => thread::park(),
            Reply::Close => return,
        }
    }
}
