//! Requests over sixteen keep-alive connections, written and read as bare bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Error;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Status,
    Submit,
    Result,
}

/// What is asked, over and over, under a name. A life is what clients ask for a job.
pub(crate) const LOADS: [(&str, &[Kind]); 4] = [
    ("status", &[Kind::Status]),
    ("submit", &[Kind::Submit]),
    ("result", &[Kind::Result]),
    ("life of a job", &LIFE),
];

const LIFE: [Kind; 7] = [
    Kind::Submit,
    Kind::Status,
    Kind::Status,
    Kind::Status,
    Kind::Status,
    Kind::Status,
    Kind::Result,
];

const BODY: &str = r#"{"prompt":"Extreme close-up of a single tiger eye, direct frontal view.","image_size":"landscape_4_3","num_inference_steps":28,"seed":1234567890,"guidance_scale":3.5,"num_images":1,"enable_safety_checker":true}"#;

/// Sends `count` requests, one at a time per connection, all connections in turn.
pub(crate) fn run(port: u16, kinds: &[Kind], job: &str, count: usize) -> Result<(), Error> {
    let requests: Vec<String> = kinds.iter().map(|kind| render(*kind, job)).collect();
    let connect = |_| TcpStream::connect(("127.0.0.1", port)).map(BufReader::new);
    let mut connections = (0..CONNECTIONS).map(connect).collect::<Result<Vec<_>, _>>()?;
    for connection in &connections {
        connection.get_ref().set_nodelay(true)?;
    }
    for request in requests.iter().cycle().take(count / CONNECTIONS) {
        for connection in &mut connections {
            connection.get_mut().write_all(request.as_bytes())?;
        }
        for connection in &mut connections {
            let (status, _) = answer(connection)?;
            if !(200..300).contains(&status) {
                return Err(format!("one of {kinds:?} was answered {status}").into());
            }
        }
    }
    Ok(())
}

/// Submits a job and waits until its result is there; its id.
pub(crate) fn complete_a_job(port: u16) -> Result<String, Error> {
    let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port))?);
    connection.get_mut().write_all(render(Kind::Submit, "").as_bytes())?;
    let (_, body) = answer(&mut connection)?;
    let submitted: serde_json::Value = serde_json::from_slice(&body)?;
    let id = submitted["request_id"].as_str().ok_or("a submit is answered with an id")?.to_owned();
    let limit = Instant::now() + Duration::from_secs(5);
    loop {
        connection.get_mut().write_all(render(Kind::Result, &id).as_bytes())?;
        match answer(&mut connection)? {
            (200, _) => return Ok(id),
            (status, _) if Instant::now() > limit => {
                return Err(format!("no result: {status}").into());
            }
            _ => std::thread::yield_now(),
        }
    }
}

fn render(kind: Kind, job: &str) -> String {
    let common = "host: 127.0.0.1\r\nauthorization: Key 0123456789abcdef:0123456789abcdef0123456789abcdef\r\naccept: application/json\r\n";
    let app = "/queue.fal.run/fal-ai/flux";
    match kind {
        Kind::Status => format!("GET {app}/requests/{job}/status HTTP/1.1\r\n{common}\r\n"),
        Kind::Result => format!("GET {app}/requests/{job} HTTP/1.1\r\n{common}\r\n"),
        Kind::Submit => format!(
            "POST {app}/dev HTTP/1.1\r\n{common}content-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        ),
    }
}

/// Status and body of an answer with a declared length.
fn answer(connection: &mut BufReader<TcpStream>) -> Result<(u16, Vec<u8>), Error> {
    let (mut status, mut length, mut line) = (0, 0, String::with_capacity(128));
    loop {
        line.clear();
        connection.read_line(&mut line)?;
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
    if status == 0 {
        return Err("the connection was closed".into());
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((status, body))
}

const CONNECTIONS: usize = 16;
