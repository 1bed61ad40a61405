//! Programs that believe to reach fal: under `fal-mock exec`, and by the settings of `fal-mock env`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use fal_mock::environment::{Environment, Runtime, Shell};

use crate::instant;
use crate::tls::Folder;

/// `fal-mock` with arguments, with a home of its own.
fn fal_mock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fal-mock"));
    command.args(arguments).env("XDG_DATA_HOME", std::env::temp_dir()).stdin(Stdio::null());
    command
}

/// What a program says under a mock whose jobs complete at once.
#[track_caller]
fn under_mock(program: &[&str]) -> Output {
    let arguments = [&["exec", "--instant", "--"], program].concat();
    fal_mock(&arguments).output().expect("the mock starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a program is there; in CI it must be.
fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    assert!(is_there || std::env::var("CI").is_err(), "{program} is not installed");
    is_there
}

#[cfg(unix)]
#[test]
fn the_exit_code_is_the_programs() {
    let code = |program: &[&str]| under_mock(program).status.code();
    assert_eq!(code(&["true"]), Some(0));
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(code(&["sh", "-c", "kill -9 $$"]), Some(137));

    let missing = under_mock(&["/nowhere/program"]);
    assert_eq!(missing.status.code(), Some(127));
    assert!(text(&missing.stderr).contains("/nowhere/program: not found"));
    let not_executable = under_mock(&[concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert_eq!(not_executable.status.code(), Some(126));
    assert_eq!(text(&not_executable.stderr).lines().count(), 1);

    let folder = Folder::new("exec-ca");
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("ca-key.pem"), "no key").unwrap();
    let dir = folder.0.to_str().unwrap();
    let failed = fal_mock(&["exec", "--ca-dir", dir, "--", "true"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(125));
}

#[cfg(unix)]
#[test]
fn signals_reach_the_program() {
    for (signal, code) in [("TERM", 9), ("HUP", 10), ("INT", 11)] {
        let script = "trap 'exit 9' TERM; trap 'exit 10' HUP; trap 'exit 11' INT; \
            echo ready; cat <&3 & wait";
        let mut child = fal_mock(&["exec", "--", "sh", "-c", &format!("exec 3<&0; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        // Open until here, for what waits for its end.
        let _input = child.stdin.take();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn a_program_gets_a_key_that_is_not_the_callers_and_files_that_go() {
    let output = fal_mock(&["exec", "--", "env"])
        .envs([("FAL_KEY", "real:secret"), ("FAL_KEY_ID", "real"), ("FAL_KEY_SECRET", "secret")])
        .envs([
            ("FAL_RUN_HOST", "elsewhere.test"),
            ("NO_PROXY", "*"),
            ("NODE_OPTIONS", "--trace-gc"),
        ])
        .output()
        .unwrap();
    let all = text(&output.stdout);
    let get = |name: &str| {
        all.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned)
    };
    for gone in ["FAL_KEY_ID", "FAL_KEY_SECRET", "FAL_RUN_HOST"] {
        assert_eq!(get(gone), None);
    }
    assert!(!all.contains("real:secret") && !all.contains("elsewhere.test"), "{all}");
    assert!(get("FAL_KEY").unwrap().split_once(':').is_some());
    let url = get("FAL_MOCK_URL").unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    for proxy in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        assert_eq!(get(proxy).as_ref(), Some(&url));
    }
    assert_eq!(get("NO_PROXY").unwrap(), "localhost,127.0.0.1,::1");
    let options = get("NODE_OPTIONS").unwrap();
    assert!(options.starts_with("--trace-gc --require \""), "{options}");
    let bundle = std::path::PathBuf::from(get("SSL_CERT_FILE").unwrap());
    assert!(!bundle.parent().unwrap().exists(), "the folder goes with the program");

    let chosen = fal_mock(&["exec", "--key", "a:b", "--", "sh", "-c", "printf %s \"$FAL_KEY\""]);
    let chosen = { chosen }.output().unwrap();
    assert_eq!(text(&chosen.stdout), "a:b");
}

#[test]
fn curl_reaches_fal_by_its_own_names_and_nobody_else() {
    if !has("curl") {
        return;
    }
    let run = r#"curl -sS --fail -H "Authorization: Key $FAL_KEY" -d '{"prompt":"x"}' https://"#;
    let output = under_mock(&["sh", "-c", &format!("{run}fal.run/fal-ai/flux/dev")]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = answer["images"][0]["url"].as_str().unwrap();
    assert!(file.starts_with("https://v3.fal.media/"), "{file}");
    assert_eq!(text(&output.stderr), "");

    let output =
        under_mock(&["sh", "-c", "curl -sS https://example.com; curl -sS http://example.com"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["detail"].as_str().unwrap().contains("--passthrough"));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("403"), "{complaint}");
    assert!(complaint.contains("example.com (1), example.com:443 (1)"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_comes_by_each_door() {
    if !has("curl") {
        return;
    }
    let mock = instant().await;
    let folder = Folder::new("curl");
    std::fs::create_dir_all(&folder.0).unwrap();
    let ca = folder.0.join("ca.pem");
    std::fs::write(&ca, mock.ca_pem()).unwrap();
    let (url, at, ca) = (mock.url(), mock.address(), ca.to_str().unwrap());
    let connect_to = format!("::{at}");
    for (arguments, files) in [
        (&[&*format!("{url}/fal.run/a/b")][..], format!("{url}/v3.fal.media/")),
        (
            &["--cacert", ca, &format!("https://{at}/fal.run/a/b")],
            format!("https://{at}/v3.fal.media/"),
        ),
        (
            &["-H", "x-fal-target-url: https://fal.run/a/b", &format!("{url}/api/fal/proxy")],
            format!("{url}/v3.fal.media/"),
        ),
        (&["-x", &url, "http://fal.run/a/b"], "http://v3.fal.media/".to_owned()),
        (&["-x", &url, "--cacert", ca, "https://fal.run/a/b"], "https://v3.fal.media/".to_owned()),
        (&["-p", "-x", &url, "http://fal.run/a/b"], "http://v3.fal.media/".to_owned()),
        (
            &["--connect-to", &connect_to, "--cacert", ca, "https://fal.run/a/b"],
            "https://v3.fal.media/".to_owned(),
        ),
    ] {
        let output = Command::new("curl")
            .args([
                "-sS",
                "--fail",
                "--noproxy",
                "",
                "-H",
                "authorization: Key a:b",
                "-d",
                "{\"prompt\":\"x\"}",
            ])
            .args(arguments)
            .output()
            .unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output.stderr)));
        let file = answer["images"][0]["url"].as_str().unwrap();
        assert!(file.starts_with(&files), "{arguments:?}: {file}");
    }
    let stranger = Command::new("curl").args(["-sS", &format!("https://{at}/")]).output().unwrap();
    assert!(text(&stranger.stderr).contains("certificate"), "{}", text(&stranger.stderr));
}

/// What a script prints in Node.js under a mock.
fn in_node(script: &str) -> Option<Output> {
    has("node").then(|| under_mock(&["node", "--input-type=module", "--eval", script]))
}

#[test]
fn node_reaches_fal_by_its_own_names() {
    let script = r#"
        import https from "node:https";
        import http from "node:http";
        const headers = { authorization: `Key ${process.env.FAL_KEY}`, "content-type": "application/json" };
        const options = { method: "POST", headers, body: JSON.stringify({ prompt: "x" }) };
        const submitted = await (await fetch("https://queue.fal.run/fal-ai/flux/dev", options)).json();
        const output = await (await fetch(submitted.response_url, { headers })).json();
        const file = await fetch(output.images[0].url);
        console.log(file.status, file.headers.get("content-type"), file.url.slice(0, 27));
        for (const [module, url] of [[https, submitted.status_url], [http, submitted.status_url.replace("https", "http")]]) {
            const status = await new Promise((resolve, reject) => {
                module.get(url, { headers }, (response) => {
                    response.resume();
                    resolve(response.statusCode);
                }).on("error", reject);
            });
            console.log(status);
        }
        // Its own servers are its own.
        const own = http.createServer((_, response) => response.end("own")).listen(0, async () => {
            console.log(await (await fetch(`http://localhost:${own.address().port}`)).text());
            own.close();
        });
    "#;
    let Some(output) = in_node(script) else { return };
    let want = "200 image/png https://v3.fal.media/files/\n200\n200\nown\n";
    let text_out = text(&output.stdout);
    assert_eq!(text_out, want, "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn node_opens_websockets_by_their_own_names() {
    let script = r#"
        const url = (host, path, token) => `wss://${host}${path}?fal_jwt_token=${token}`;
        const body = JSON.stringify({ allowed_apps: ["app"], duration: 60 });
        const headers = { authorization: `Key ${process.env.FAL_KEY}` };
        const answer = await fetch("https://rest.fal.ai/tokens/realtime", { method: "POST", headers, body });
        const { token } = await answer.json();
        for (const [host, path] of [["fal.run", "/acme/app/realtime"], ["ws.fal.run", "/acme/app"]]) {
            const socket = new WebSocket(url(host, path, token));
            socket.onopen = () => socket.send('{"seed":7}');
            const first = await new Promise((resolve, reject) => {
                socket.onmessage = ({ data }) => resolve(JSON.parse(data));
                socket.onerror = reject;
            });
            console.log(first.seed ?? first.type);
            const closed = new Promise((resolve) => (socket.onclose = resolve));
            socket.close();
            console.log((await closed).code);
        }
    "#;
    if !has("node") {
        return;
    }
    // Node 20 has no WebSocket without it; later ones take it as well.
    let flags = ["--experimental-websocket", "--input-type=module", "--eval"];
    let output = under_mock(&["node", flags[0], flags[1], flags[2], script]);
    assert_eq!(text(&output.stdout), "7\n1000\nstart\n1000\n", "{}", text(&output.stderr));
}

#[test]
fn node_does_not_reach_others() {
    let script = r#"
        import https from "node:https";
        import net from "node:net";
        const reason = (error) => `${error.code} ${error.message.slice(0, 60)}`;
        await fetch("https://example.com/").catch((error) => console.log(reason(error.cause)));
        await fetch("http://10.1.2.3/").catch((error) => console.log(reason(error.cause)));
        await new Promise((resolve) => {
            https.get("https://api.openai.com/", { agent: false }).on("error", (error) => resolve(console.log(reason(error))));
        });
        await new Promise((resolve) => {
            net.connect(25, "mail.test").on("error", (error) => resolve(console.log(reason(error))));
        });
    "#;
    let Some(output) = in_node(script) else { return };
    let reason =
        "ERR_FAL_MOCK_REFUSED fal-mock stands for fal's hosts only and did not connect to ";
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 4, "{lines}{}", text(&output.stderr));
    assert!(
        lines.lines().all(|line| reason.starts_with(line) || line.starts_with(reason)),
        "{lines}"
    );
    let complaint = text(&output.stderr);
    for target in ["example.com:443", "10.1.2.3:80", "api.openai.com:443", "mail.test:25"] {
        assert!(complaint.contains(&format!("{target} (1)")), "{complaint}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_takes_the_settings_of_a_mock_that_runs() {
    let mock = instant().await;
    let folder = Folder::new("it's a \"folder\" $HOME \\ ü");
    let dir = folder.0.to_str().unwrap();
    let url = mock.url();
    let env = |more: &[&str]| {
        let arguments = [&["env", "--url", &url, "--key", "a:b", "--dir", dir], more].concat();
        let output = fal_mock(&arguments).env_remove("NODE_OPTIONS").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let script = format!(
        "FAL_KEY_ID=real; {}\nprintf '%s\\n' \"$FAL_KEY$FAL_KEY_ID\" \"$HTTPS_PROXY\" \"$NODE_EXTRA_CA_CERTS\"; \
         cat \"$NODE_EXTRA_CA_CERTS\"",
        env(&[])
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let want = format!("a:b\n{url}\n{dir}/ca.pem\n{}", mock.ca_pem());
    assert_eq!(text(&output.stdout), want, "{}", text(&output.stderr));
    if has("node") {
        let run = "fetch('https://fal.run/fal-ai/flux/dev', { method: 'POST', body: '{\"prompt\":\"x\"}', headers: \
            { authorization: `Key ${process.env.FAL_KEY}` } }).then(({ status }) => console.log(status))";
        let script = format!("{}\nnode --eval \"$1\"", env(&["--runtime", "node"]));
        let output = Command::new("sh").args(["-c", &script, "sh", run]).output().unwrap();
        assert_eq!(text(&output.stdout), "200\n", "{}", text(&output.stderr));
    }

    let python = env(&["--runtime", "python"]);
    assert!(python.contains("REQUESTS_CA_BUNDLE") && !python.contains("NODE"), "{python}");
    assert!(env(&["--shell", "fish"]).contains("set -gx FAL_KEY 'a:b'\n"));
    assert!(env(&["--shell", "powershell"]).contains("$env:FAL_KEY = 'a:b'\n"));
}

#[test]
fn settings_for_a_mock_that_does_not_run_are_refused() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [&*format!("http://{closed}"), "https://127.0.0.1:1", "/nowhere"] {
        let output = fal_mock(&["env", "--url", url]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}");
        assert!(output.stdout.is_empty(), "a shell would read it");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn a_rust_test_has_the_same_settings() {
    let mock = instant().await;
    let environment = mock.environment("a:b").unwrap();
    let get = |environment: &Environment, name: &str| {
        let found = environment.variables().find(|(other, _)| *other == name);
        found.and_then(|(_, value)| value).map(str::to_owned)
    };
    assert_eq!(get(&environment, "HTTPS_PROXY"), Some(mock.url()));
    let bundle = get(&environment, "SSL_CERT_FILE").unwrap();
    assert!(std::fs::read_to_string(&bundle).unwrap().starts_with(mock.ca_pem()));
    assert!(environment.script(Shell::Bash, Some(Runtime::Rust)).contains("FAL_BASE_URL"));
    drop(environment);
    assert!(!std::path::Path::new(&bundle).exists());
}
