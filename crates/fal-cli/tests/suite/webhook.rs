//! Saved deliveries.

use std::net::TcpListener;

use fal_mock::MockFal;

use crate::support::{Folder, Said, fal_cli};

/// The lines of the headers and the body of the next request, which is answered.
fn receive(listener: &TcpListener) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let (mut stream, _) = listener.accept().expect("somebody connects");
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).expect("a request");
        text.extend_from_slice(&buffer[..length]);
        let whole = String::from_utf8(text.clone()).expect("all of it is text");
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        if head.contains(&format!("content-length: {}\r", body.len()))
            || head.ends_with(&format!("content-length: {}", body.len()))
        {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it listens");
            return (head.to_owned(), body.to_owned());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_delivery_is_verified() {
    let mock = MockFal::builder().instant().start().await.unwrap();
    let url = mock.url();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("http://{}/hook", listener.local_addr().unwrap());
    let submit = ["submit", "fal-ai/flux/dev", "prompt=x", "--webhook", &hook];
    Said::of(fal_cli(&url).args(submit)).expect(0);
    let (head, body) = receive(&listener);
    let folder = Folder::new();
    let headers = folder.file("headers.txt", head.as_bytes());
    let check = |url: &str, headers: &str, body: &str, code| {
        let body = folder.file("body.json", body.as_bytes());
        let mut command = fal_cli(url);
        command.args(["webhook", "verify", "--headers", headers, "--body", &body]);
        Said::of(&mut command).expect(code)
    };
    let told = check(&url, &headers, &body, 0).last("result");
    assert_eq!((&told["outcome"], &told["delivery"]["status"]), (&"ok".into(), &"OK".into()));
    assert_eq!(told["request_id"], mock.jobs()[0].request_id.to_string());
    let said = check(&url, &headers, &body.replace("OK", "KO"), 4);
    assert!(said.stderr.contains("no key has made its signature"), "{}", said.stderr);
    check("http://127.0.0.1:1", &headers, &body, 6);
    check(&url, &format!("{headers}.none"), &body, 10);

    let old = head.lines().map(|line| match line.split_once("timestamp: ") {
        Some((name, _)) => format!("{name}timestamp: 1000\n"),
        None => format!("{line}\n"),
    });
    let old = folder.file("old.txt", old.collect::<String>().as_bytes());
    let said = check(&url, &old, &body, 4);
    assert!(said.stderr.contains("too long"), "{}", said.stderr);
    let path = folder.path().join("body.json");
    let mut command = fal_cli(&url);
    command.args(["webhook", "verify", "--any-age", "--headers", &old, "--body"]).arg(path);
    let said = Said::of(&mut command).expect(4);
    assert!(said.stderr.contains("signature"), "{}", said.stderr);
}
